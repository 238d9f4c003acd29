package imap

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/auth"
	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/scripts/mailgen"
	"maildird/server/dialogue"
)

// cacheQuestions are commands whose answers may come from the cache.
var cacheQuestions = []string{
	"UID FETCH 1:* ENVELOPE", "UID FETCH 1:* (BODYSTRUCTURE BODY)", "UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE)",
	"UID FETCH 1:* (PREVIEW)", "UID FETCH 1:* BODY.PEEK[HEADER]", "UID FETCH 1:* (RFC822.HEADER BODY.PEEK[])",
	"UID FETCH 1:* BODY.PEEK[HEADER]<20.100>", "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject From Content-Type)] ENVELOPE)",
	"UID FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (Received DKIM-Signature)]", "UID FETCH 1:* (BODY.PEEK[1] BODY.PEEK[1.MIME])",
	"UID FETCH 1:* BINARY.SIZE[1]", "UID FETCH 1:* (BODY.PEEK[TEXT]<10.50> PREVIEW)", "UID FETCH 1:* BODY.PEEK[2.HEADER]",
	`UID SEARCH SUBJECT "team"`, `UID SEARCH HEADER X-Long ""`, `UID SEARCH TEXT "customer"`, `UID SEARCH BODY "hotel team"`,
	"UID SEARCH SENTSINCE 5-Jan-2024", "UID SEARCH SINCE 4-Jan-2024", "UID SEARCH LARGER 6000",
	"UID SORT (SUBJECT FROM SIZE) UTF-8 ALL", "UID SORT (DATE ARRIVAL CC) UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL",
}

// askAll sends the commands in random order and returns the answers.
func askAll(ts *testServer, rnd *rand.Rand, rev2 bool) map[string]string {
	ts.t.Helper()
	c := ts.login()
	if rev2 {
		c.ok("ENABLE IMAP4rev2")
	}
	c.ok("EXAMINE INBOX")
	questions := slices.Clone(cacheQuestions)
	rnd.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	answers := map[string]string{}
	for _, q := range questions {
		answers[q] = c.octets(q)
	}
	c.ok("LOGOUT")
	return answers
}

// octets sends a command and returns the answer, regardless of its line endings.
func (c *testClient) octets(text string) string {
	c.t.Helper()
	c.send("same " + text + "\r\n")
	var all strings.Builder
	for {
		response, err := c.response() // literals may have any line endings
		if err != nil {
			c.t.Fatal(err)
		}
		if status, ok := strings.CutPrefix(string(response), "same "); ok {
			if !strings.HasPrefix(status, "OK") && !strings.HasPrefix(status, "NO [UNKNOWN-CTE]") {
				c.t.Fatalf("%s: %s", text, status)
			}
			return all.String() + status
		}
		all.Write(response)
	}
}

// randomMail fills an inbox with samples, generated mail, and damaged variants of both.
func randomMail(t *testing.T, root string, rnd *rand.Rand) {
	t.Helper()
	files := corpus(t)
	fillInbox(t, root, files)
	for i := range 60 {
		var text []byte
		switch i % 3 {
		case 0:
			text = mailgen.Message(i)
		case 1:
			text = mailgen.WithAttachment(i, 1+rnd.IntN(90_000))
		default:
			text, _ = os.ReadFile(files[rnd.IntN(len(files))])
			for n := 1 + rnd.IntN(20); n > 0 && len(text) > 0; n-- {
				at := rnd.IntN(len(text))
				switch rnd.IntN(4) {
				case 0:
					text[at] = byte(rnd.Uint32())
				case 1:
					text = append(text[:at], text[at+rnd.IntN(len(text)-at):]...)
				case 2:
					text = slices.Insert(text, at, []byte("\nContent-Type: multipart/mixed; boundary=b\n\n--b\n")...)
				case 3:
					text = slices.Insert(text, at, slices.Repeat([]byte("\xc3\xa4x"), rnd.IntN(3000))...)
				}
			}
		}
		path := filepath.Join(root, "cur", fmt.Sprintf("%d.M%dP1.random:2,S", 1_800_000_000+i, i))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		date := mailgen.Date(i * 250).Add(time.Duration(rnd.IntN(1e9)))
		if err := os.Chtimes(path, date, date); err != nil {
			t.Fatal(err)
		}
	}
}

var mailSeed = flag.Uint64("mailseed", 1, "which random mail TestCacheChangesNoAnswer has: the same in every run unless another is asked for")

// TestCacheChangesNoAnswer: servers with an empty cache, with a full one, and with one that was
// full before return the same answers as a server without a cache.
func TestCacheChangesNoAnswer(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	rnd := rand.New(rand.NewPCG(*mailSeed, 3))
	root := filepath.Join(home, "alice")
	randomMail(t, root, rnd)
	want := map[bool]map[string]string{}
	bare := startServerOn(t, home, "")
	for _, rev2 := range []bool{false, true} {
		want[rev2] = askAll(bare, rnd, rev2)
	}
	bare.stop()
	compare := func(ts *testServer, rev2 bool, what string) {
		t.Helper()
		got := askAll(ts, rnd, rev2)
		for _, q := range cacheQuestions {
			if got[q] != want[rev2][q] {
				t.Errorf("%s: %s:\n%s", what, q, firstOther(got[q], want[rev2][q]))
			}
		}
	}
	for i, what := range []string{"empty cache", "full cache", "cache with damage"} {
		if what == "cache with damage" {
			damage(t, dir, rnd)
		}
		ts := startServerOn(t, home, dir)
		compare(ts, i == 1, what)
		if i == 0 {
			compare(ts, true, what+", second time")
		}
		ts.stop()
	}
	if n := cacheBytes(t, dir); n < 100_000 {
		t.Errorf("the cache has %d bytes", n)
	}
}

func firstOther(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return fmt.Sprintf("line %d:\n %.300q\n %.300q", i+1, as[i], bs[i])
		}
	}
	return fmt.Sprintf("%d lines, %d lines", len(as), len(bs))
}

// damage flips random bits in the files of a cache.
func damage(t *testing.T, dir string, rnd *rand.Rand) {
	t.Helper()
	each(t, dir, func(path string, data []byte) {
		for range len(data) / 4000 {
			data[64+rnd.IntN(len(data)-64)] ^= 1 << rnd.IntN(8)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func cacheBytes(t *testing.T, dir string) (n int) {
	t.Helper()
	each(t, dir, func(_ string, data []byte) { n += len(data) })
	return n
}

func each(t *testing.T, dir string, f func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			f(path, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCorpusWithCache fetches all items of the sample mails one by one.
func TestCorpusWithCache(t *testing.T) {
	files := corpus(t)
	home, dir := t.TempDir(), t.TempDir()
	fillInbox(t, filepath.Join(home, "alice"), files)
	var want map[string]map[string]string
	for _, cacheDir := range []string{"", dir, dir} {
		ts := startServerOn(t, home, cacheDir)
		got := answersOf(t, func() *testClient {
			c := ts.login()
			c.ok("EXAMINE INBOX")
			return c
		}, files)
		ts.stop()
		if want == nil {
			want = got
			continue
		}
		for mail, answers := range want {
			for item, answer := range answers {
				if got[mail][item] != answer {
					t.Errorf("%s %s: %.300q, without cache %.300q", mail, item, got[mail][item], answer)
				}
			}
		}
	}
}

// TestChangedFileIsServedAnew changes a message in place, which no program should do: the
// server must not use its cache entry after it has opened the file.
func TestChangedFileIsServedAnew(t *testing.T) {
	ts := startServerOn(t, t.TempDir(), t.TempDir())
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(ts.root("alice"), "cur", "1.M1P1.h:2,S")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("Subject: one\n\ntext\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	for range 2 {
		if got := c.ok("FETCH 1 ENVELOPE")[0]; !strings.Contains(got, `"one"`) {
			t.Fatal(got)
		}
	}
	put("Subject: another\n\nlonger text\n")
	c.ok("FETCH 1 BODY.PEEK[]")
	for range 2 {
		if got := c.ok("FETCH 1 (RFC822.SIZE ENVELOPE)")[0]; !strings.Contains(got, `"another"`) || !strings.Contains(got, "SIZE 33") {
			t.Error(got)
		}
	}
}

// TestChangedFileHasItsDate does the same while the file is so new that its date may still be
// the same after a change: the date of the old text must no longer be returned.
func TestChangedFileHasItsDate(t *testing.T) {
	for _, cacheDir := range []string{"", t.TempDir()} {
		ts := startServerOn(t, t.TempDir(), cacheDir)
		if err := ts.provision("alice"); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(ts.root("alice"), "cur", "1.M1P1.h:2,S")
		put := func(text string, at time.Time) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		c := ts.login()
		dated := func(at time.Time) {
			t.Helper()
			want := fmt.Sprintf(`* 1 FETCH (INTERNALDATE "%s")`, at.UTC().Format("_2-Jan-2006 15:04:05 -0700"))
			if got := c.ok("FETCH 1 INTERNALDATE")[0]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		now := time.Now()
		put("Subject: one\n\ntext\n", now.AddDate(0, 0, -3))
		c.ok("SELECT INBOX")
		dated(now.AddDate(0, 0, -3))
		put("Subject: another\n\ntext\n", now)
		c.ok("FETCH 1 BODY.PEEK[]")
		dated(now)
	}
}

// TestCacheIsGivenEachMessageOnce: a command passes everything that it had to read of a message
// to the cache, for short and long messages, and only once.
func TestCacheIsGivenEachMessageOnce(t *testing.T) {
	for _, items := range []string{"ENVELOPE", "BODYSTRUCTURE", "(ENVELOPE BODY RFC822.SIZE)", "BODY.PEEK[HEADER.FIELDS (From)]"} {
		home, dir := t.TempDir(), t.TempDir()
		root := filepath.Join(home, "alice")
		if _, err := mailgen.Fill(root, 40); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			path := filepath.Join(root, "cur", fmt.Sprintf("%d.M%dP1.long:2,S", 1_800_000_000+i, i))
			if err := os.WriteFile(path, mailgen.WithAttachment(i, 60_000), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, mailgen.Date(i), mailgen.Date(i)); err != nil {
				t.Fatal(err)
			}
		}
		fetch := func() (size int, headers map[string]int) {
			ts := startServerOn(t, home, dir)
			c := ts.login()
			c.ok("EXAMINE INBOX")
			c.octets("FETCH 1:* " + items)
			c.ok("LOGOUT")
			ts.stop()
			headers = map[string]int{}
			each(t, dir, func(_ string, data []byte) {
				size += len(data)
				for _, id := range regexp.MustCompile(`(?i)\r\nMessage-ID: *<[^>]*>`).FindAllString(string(data), -1) {
					headers[id]++
				}
			})
			return size, headers
		}
		first, headers := fetch()
		for id, n := range headers {
			if n != 1 {
				t.Errorf("%s: the cache has the header with %q %d times", items, id, n)
			}
		}
		if want := 44; items != "BODYSTRUCTURE" && len(headers) != want {
			t.Errorf("%s: the cache has %d headers, not %d", items, len(headers), want)
		}
		if again, _ := fetch(); first == 0 || again != first {
			t.Errorf("%s: the cache had %d octets, and %d after the same command", items, first, again)
		}
	}
}

// TestTranscriptsWithCache plays the dialogues with an empty cache, and with one that another
// process has just filled.
func TestTranscriptsWithCache(t *testing.T) {
	files, err := filepath.Glob("../../testdata/imap/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/warm=%v", filepath.Base(file), warm), func(t *testing.T) {
				t.Parallel()
				script, err := dialogue.Parse(file)
				if err != nil {
					t.Fatal(err)
				}
				home, dir := t.TempDir(), t.TempDir()
				ts := startServerOn(t, home, dir, scriptOptions(t, script)...)
				if err := ts.provision("alice"); err != nil {
					t.Fatal(err)
				}
				dialogue.Play(t, script, dialogue.Target{
					Root: ts.root("alice"),
					Dial: func() (net.Conn, error) {
						if warm {
							warmUp(t, home, dir)
						}
						return net.Dial("tcp", ts.addr)
					},
				})
			})
		}
	}
}

// warmUp starts another server, which reads the whole inbox.
func warmUp(t *testing.T, home, dir string) {
	if _, err := os.Stat(filepath.Join(home, "alice", "dovecot-uidlist")); err != nil {
		return // the dialogue may depend on the first UIDs
	}
	ts := startServerOn(t, home, dir)
	defer ts.stop()
	c := ts.login()
	c.ok("EXAMINE INBOX")
	if len(c.ok("UID SEARCH ALL")[0]) > len("* SEARCH") {
		c.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW RFC822.SIZE)")
	}
}

// TestRenderingHasItsFormat checks that the contents of the cache are what today's code writes.
// If the rendering of anything in it has changed, increase cache.Format and replace the digest.
// If only the generated mail has changed, replace the digest.
func TestRenderingHasItsFormat(t *testing.T) {
	const format, digest, orders = 10, "c0f94a02cca0772d", "2b8ae74bda6a2e6f"
	home := t.TempDir()
	root := filepath.Join(home, "alice")
	if _, err := mailgen.Fill(root, 100); err != nil {
		t.Fatal(err)
	}
	ts := startServerOn(t, home, t.TempDir())
	c := ts.login()
	c.ok("SELECT INBOX")
	c.ok("FETCH 1:* (PREVIEW ENVELOPE BODYSTRUCTURE BODY)")
	c.ok("SORT (DATE) UTF-8 ALL")
	account, err := ts.cfg.OpenAccount(t.Context(), auth.User{Name: "alice@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Release()
	box, err := account.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Release()
	view, err := box.NewView(t.Context(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	digestOf := func(cached *mailbox.Cached, first, last cache.Kind) string {
		defer cached.Close()
		h := sha256.New()
		for m := range view.Messages([]mailbox.Range{{First: 1, Last: 100}}, false) {
			rec, ok := cached.Read(m)
			if !ok {
				t.Fatalf("message %d is not in the cache", m.UID)
			}
			for k := first; k <= last; k++ {
				b, _ := rec.Get(k)
				fmt.Fprintf(h, "%d %d %q\n", k, len(b), b)
			}
		}
		return fmt.Sprintf("%x", h.Sum(nil)[:8])
	}
	if got := digestOf(view.Cached(), cache.Envelope, cache.Header); got != digest || cache.Format != format {
		t.Errorf("format %d is rendered as %s, not format %d as %s", cache.Format, got, format, digest)
	}
	if got := digestOf(view.Orders(), cache.Order, cache.Order); got != orders {
		t.Errorf("format %d has orders of %s, not of %s", cache.Format, got, orders)
	}
}
