package imap

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/maildir/message"
	"maildird/scripts/rig"
)

var update = flag.Bool("update", false, "write the golden files anew; then read what changed")

const mailDir = "../../testdata/mail"

// corpus returns the mail in testdata/mail, sorted by name.
func corpus(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(mailDir + "/*.eml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d sample mails: %v", len(files), err)
	}
	slices.Sort(files)
	return files
}

// fillInbox writes the mail to a Maildir, with sequence numbers in this order. IMAP does not
// reveal the file names.
func fillInbox(t testing.TB, root string, files []string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	date := time.Date(2024, time.June, 3, 8, 0, 0, 0, time.UTC)
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, "cur", fmt.Sprintf("%d.M1P1.corpus:2,S", 1_700_000_000+i))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, date, date); err != nil {
			t.Fatal(err)
		}
	}
}

// corpusItems returns the items that are requested for a message: all its sections, some that
// do not exist, and partial texts.
func corpusItems(t testing.TB, data []byte) []string {
	t.Helper()
	root, err := message.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	items := []string{
		"RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]",
		"BODY.PEEK[HEADER.FIELDS (From subject X-Long)]", "BODY.PEEK[HEADER.FIELDS.NOT (From To Date Content-Type)]",
	}
	var walk func(p *message.Part, path string)
	walk = func(p *message.Part, path string) {
		items = append(items, "BODY.PEEK["+path+".MIME]", "BODY.PEEK["+path+"]", "BINARY.PEEK["+path+"]", "BINARY.SIZE["+path+"]")
		inside := p
		if p.Message() && len(p.Children) == 1 {
			items = append(items, "BODY.PEEK["+path+".HEADER]", "BODY.PEEK["+path+".TEXT]", "BODY.PEEK["+path+".HEADER.FIELDS (SUBJECT)]")
			inside = p.Children[0]
			if !inside.Multipart() {
				walk(inside, path+".1")
				return
			}
		}
		for i, child := range inside.Children {
			walk(child, path+"."+strconv.Itoa(i+1))
		}
	}
	if root.Multipart() {
		for i, child := range root.Children {
			walk(child, strconv.Itoa(i+1))
		}
	}
	if !root.Multipart() || len(root.Children) == 0 {
		walk(root, "1")
	}
	return append(items,
		"BODY.PEEK[9]", "BODY.PEEK[1.9]", "BODY.PEEK[1.1.1.1]", "BODY.PEEK[1.HEADER]", "BINARY.PEEK[]",
		"BODY.PEEK[]<0.1>", "BODY.PEEK[]<30.20>", "BODY.PEEK[]<100000.10>", "BODY.PEEK[TEXT]<3.9>", "BODY.PEEK[1]<1.100000>",
		"BINARY.PEEK[1]<1.3>")
}

// answersOf fetches the items of all mail.
func answersOf(t testing.TB, dial func() *testClient, files []string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	var c *testClient
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		answers := map[string]string{}
		for _, item := range corpusItems(t, data) {
			if c == nil {
				c = dial()
			}
			if answers[item] = c.fetched(i+1, item); answers[item] == closedByServer {
				c = nil
			}
		}
		out[mailName(file)] = answers
	}
	return out
}

func mailName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".eml") }

// ourAnswers returns the answers of a new server.
func ourAnswers(t testing.TB, files []string) map[string]map[string]string {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	fillInbox(t, ts.root("alice"), files)
	return answersOf(t, func() *testClient {
		c := ts.login()
		c.ok("EXAMINE INBOX")
		return c
	}, files)
}

// TestMailCorpus compares the FETCH responses for the mail in testdata/mail with the golden
// files beside it, which were checked line by line against the RFCs.
func TestMailCorpus(t *testing.T) {
	files := corpus(t)
	got := ourAnswers(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		answers := got[mailName(file)]
		for _, item := range corpusItems(t, data) {
			fmt.Fprintf(&text, "%s %s\n", item, answers[item])
		}
		golden := strings.TrimSuffix(file, ".eml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != text.String() {
			t.Errorf("%s: %s", mailName(file), firstDifference(string(want), text.String()))
		}
	}
}

// firstDifference returns the first line in which two texts differ.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// TestMailCorpusBesideDovecot sends the same commands for the same files to a real Dovecot.
// testdata/mail/differences.txt must explain every difference.
func TestMailCorpusBesideDovecot(t *testing.T) {
	files := corpus(t)
	home, err := rig.Dir("corpus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	fillInbox(t, filepath.Join(home, "mail/example.org/alice"), files)
	if err := rig.Own(home); err != nil {
		t.Fatal(err)
	}
	d, err := rig.StartDovecot(t.Context(), rig.DovecotOptions{Root: home, Accounts: []rig.Account{{Address: "alice@example.org", Password: "secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(d.Log); err == nil && t.Failed() {
			t.Logf("%s", log)
		}
		_ = d.Close()
	})
	theirs := answersOf(t, func() *testClient {
		c := dovecotClient(t, d)
		c.ok("EXAMINE INBOX")
		return c
	}, files)
	ours := ourAnswers(t, files)

	known := readDifferences(t)
	for _, file := range files {
		name := mailName(file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range corpusItems(t, data) {
			if plainLiteral(ours[name][item]) == plainLiteral(theirs[name][item]) {
				continue
			}
			if i := slices.IndexFunc(known, func(d *difference) bool { return d.covers(name, item) }); i >= 0 {
				known[i].seen = true
				continue
			}
			t.Errorf("%s %s\nours:    %s\ndovecot: %s", name, item, ours[name][item], theirs[name][item])
		}
	}
	for _, d := range known {
		if !d.seen {
			t.Errorf("differences.txt, line %d: Dovecot does not differ in %s %s", d.line, d.mail, d.items)
		}
	}
}

// plainLiteral converts a literal8 to a literal: a server may send either if the text contains
// no NUL (RFC 9051 section 9, msg-att-static).
func plainLiteral(value string) string {
	rest, _ := strings.CutPrefix(value, "~")
	return strings.TrimLeft(rest, " ")
}

// difference is a row of differences.txt.
type difference struct {
	line  int
	mail  string
	items *regexp.Regexp
	seen  bool
}

func (d *difference) covers(mail, item string) bool {
	return (d.mail == "*" || d.mail == mail) && d.items.MatchString(item)
}

// readDifferences parses the table: each row is a line "mail: items" (a regular expression),
// followed by the indented reason. Comments begin with "#".
func readDifferences(t *testing.T) []*difference {
	t.Helper()
	text, err := os.ReadFile(mailDir + "/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []*difference
	reason := true
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ':
			reason = true
		default:
			mail, items, ok := strings.Cut(line, ": ")
			re, err := regexp.Compile("^(?:" + items + ")$")
			if !ok || err != nil {
				t.Fatalf("differences.txt, line %d: %v", i+1, err)
			}
			out = append(out, &difference{line: i + 1, mail: mail, items: re})
			reason = false
		}
	}
	if !reason {
		t.Fatal("differences.txt: the last row has no reason")
	}
	return out
}
