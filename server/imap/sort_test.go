package imap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"maildird/scripts/mailgen"
	"maildird/scripts/rig/doveimap"
)

// randomThreads writes n messages to a Maildir whose subjects, addresses, dates and references
// overlap in all ways. The same seed produces the same messages.
func randomThreads(t *testing.T, root string, seed uint64, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	id := func() string { return fmt.Sprintf("<%d@example.org>", r.IntN(n)) }
	begin := time.Date(2024, 2, 1, 12, 0, 0, 0, time.UTC)
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		var b strings.Builder
		if r.IntN(10) > 0 {
			fmt.Fprintf(&b, "Message-ID: <%d@example.org>\n", i)
		}
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "In-Reply-To: %s\n", id())
		case 1, 2:
			b.WriteString("References:")
			for range 1 + r.IntN(4) {
				b.WriteString(" " + id())
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "Subject: %s%s%d\n", pick("", "", "Re: ", "Fwd: ", "[list] ", "re: [list] "), pick("topic ", "TOPIC ", "=?utf-8?Q?gr=C3=BC=C3=9Fe_?="), r.IntN(n/3))
		fmt.Fprintf(&b, "From: %s\n", pick("Zoe <a@example.org>", "bob@example.org", "=?utf-8?Q?=C3=84rger?= <c@example.org>", "B <B@example.org>"))
		fmt.Fprintf(&b, "To: %s\n", pick("x@example.org", "Y <y@example.org>, x@example.org", "friends: a@b.c;"))
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "Cc: %s\n", pick("q@example.org", "P@example.org"))
		}
		if r.IntN(8) > 0 {
			at := begin.Add(time.Duration(r.IntN(n)) * time.Minute).In(time.FixedZone("", (r.IntN(24)-12)*3600))
			fmt.Fprintf(&b, "Date: %s\n", at.Format(time.RFC1123Z))
		}
		fmt.Fprintf(&b, "\n%s\n", strings.Repeat("x", r.IntN(50)))
		name := filepath.Join(root, "cur", fmt.Sprintf("%d.M%dP1.test:2,", 1_700_000_000+i, i))
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		at := begin.Add(time.Duration(r.IntN(n)) * time.Hour)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSortThreadAsDovecot compares the answers with those of Dovecot for the same mail.
func TestSortThreadAsDovecot(t *testing.T) {
	for seed := range uint64(3) {
		const n = 120
		root := doveimap.Maildir(t)
		randomThreads(t, root, seed, n)
		theirs := doveimap.Start(t, root)
		ts := startServer(t)
		randomThreads(t, ts.root("alice"), seed, n)
		ours := ts.login()
		ours.ok("SELECT INBOX")
		theirs.Do("SELECT INBOX")
		for _, command := range []string{
			"SORT (ARRIVAL) UTF-8 ALL", "SORT (DATE) UTF-8 ALL", "SORT (SIZE) UTF-8 ALL", "SORT (FROM) UTF-8 ALL",
			"SORT (TO) UTF-8 ALL", "SORT (CC DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE SUBJECT REVERSE DATE) UTF-8 ALL",
			"SORT (DISPLAYFROM) UTF-8 ALL", "UID SORT (REVERSE DISPLAYFROM ARRIVAL) US-ASCII 1:50 NOT 7", "SORT (DATE) UTF-8 SUBJECT nowhere",
			"THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 10:100",
			"THREAD REFS UTF-8 ALL", "THREAD REFERENCES UTF-8 SUBJECT nowhere",
			"UID SORT RETURN (COUNT MIN MAX) (DATE) UTF-8 ALL", "UID SORT RETURN (ALL) (SUBJECT) UTF-8 3:9",
		} {
			want := regexp.MustCompile(`\(TAG "[^"]*"\)`).ReplaceAllString(strings.Join(theirs.Do(command), "\n"), `(TAG "t")`)
			got := regexp.MustCompile(`\(TAG "[^"]*"\)`).ReplaceAllString(strings.Join(ours.ok(command), "\n"), `(TAG "t")`)
			if got != strings.TrimRight(want, " ") { // an empty THREAD has no space (RFC 5256 section 5)
				t.Errorf("seed %d, %s:\nours    %s\nDovecot %s", seed, command, got, want)
			}
		}
		theirs.Close()
	}
}

// TestSortOfChangedFile: the sort keys of a message that was changed in place are not used
// after its file was opened.
func TestSortOfChangedFile(t *testing.T) {
	ts := startServerOn(t, t.TempDir(), t.TempDir())
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	put := func(i int, text string, at time.Time) {
		path := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("%d.M1P1.h:2,S", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "Subject: a\n\n", mailgen.Date(1))
	put(2, "Subject: b\n\n", mailgen.Date(2))
	c := ts.login()
	c.ok("SELECT INBOX")
	order := func(want string) {
		t.Helper()
		for range 2 {
			if got := c.ok("SORT (SUBJECT) UTF-8 ALL")[0]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	order("* SORT 1 2")
	put(1, "Subject: c\n\n", mailgen.Date(3))
	c.ok("FETCH 1 BODY.PEEK[]")
	order("* SORT 2 1")
}
