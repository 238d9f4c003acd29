package imap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sortWorld is a mailbox that two servers and other programs use. One server remembers orders;
// the other has no cache and remembers nothing.
type sortWorld struct {
	t                  *testing.T
	rng                *rand.Rand
	root               string
	remembers, forgets *testClient
	other              *testClient // client of the server that remembers
	made               int
}

func (w *sortWorld) pick(list ...string) string { return list[w.rng.IntN(len(list))] }

// write writes the file of a message, whose time may be in the last moments.
func (w *sortWorld) write(path string) {
	w.t.Helper()
	text := fmt.Sprintf("Subject: %s%s\nFrom: %s\n%s\n%s\n", w.pick("", "Re: ", "[list] "),
		w.pick("apples", "Bananas", "cherries", "=?utf-8?Q?D=C3=A4tes?=", "dates", "apples and Bananas and dates"),
		w.pick("boss@example.org", "Zoe <a@example.org>", "b@example.org"),
		w.pick("", "Date: 31 February\n", fmt.Sprintf("Date: %d Feb 2024 12:00:00 +0000\n", 1+w.rng.IntN(20))),
		strings.Repeat("x", w.rng.IntN(9)))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	at := time.Now()
	if w.rng.IntN(150) > 0 {
		at = time.Date(2024, 2, 1, w.rng.IntN(400), 0, 0, w.rng.IntN(100), time.UTC)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		w.t.Fatal(err)
	}
}

func (w *sortWorld) deliver() {
	w.t.Helper()
	w.made++
	name := fmt.Sprintf("17069331%02d.M%dP1.test", w.rng.IntN(100), w.made)
	tmp := filepath.Join(w.root, "tmp", name)
	w.write(tmp)
	if err := os.Rename(tmp, filepath.Join(w.root, "cur", name+w.pick(":2,", ":2,S", ":2,F"))); err != nil {
		w.t.Fatal(err)
	}
}

// anyFile returns the path of a random message.
func (w *sortWorld) anyFile() string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.root, "cur", "*"))
	if err != nil || len(files) == 0 {
		w.t.Fatal(files, err)
	}
	return files[w.rng.IntN(len(files))]
}

// step makes a random change.
func (w *sortWorld) step() {
	w.t.Helper()
	switch w.rng.IntN(10) {
	case 0, 1, 2, 3:
		for range 1 + w.rng.IntN(2) {
			w.deliver()
		}
	case 4:
		for range w.rng.IntN(15) {
			w.deliver()
		}
	case 5: // the other server does not notice this at once
		w.other.ok(fmt.Sprintf(`UID STORE %d:%d +FLAGS.SILENT (\Deleted)`, 1+w.rng.IntN(w.made), 1+w.rng.IntN(w.made)))
		if w.rng.IntN(2) == 0 {
			w.other.ok(`UID STORE 1:* -FLAGS.SILENT (\Deleted)`)
		}
		w.other.ok(fmt.Sprintf("UID EXPUNGE %d:%d", 1+w.rng.IntN(w.made), 1+w.rng.IntN(w.made)))
	case 6:
		if err := os.Remove(w.anyFile()); err != nil {
			w.t.Fatal(err)
		}
	case 7: // a change in place is noticed when the message is read
		w.write(w.anyFile())
		for _, c := range []*testClient{w.other, w.forgets} {
			c.ok("NOOP")
			c.command("UID FETCH 1:* BODY.PEEK[]") // some may be gone
		}
	default:
		w.remembers.ok(fmt.Sprintf(`UID STORE %d:* %sFLAGS.SILENT (%s)`, 1+w.rng.IntN(w.made), w.pick("+", "-"), w.pick(`\Seen`, `\Flagged`)))
	}
}

// compare sorts in some way with both servers. They may differ for a moment, while a change
// reaches one of them.
func (w *sortWorld) compare() {
	w.t.Helper()
	command := fmt.Sprintf("UID SORT (%s) UTF-8 %s",
		w.pick("SUBJECT", "SUBJECT", "REVERSE SUBJECT", "FROM REVERSE DATE", "ARRIVAL", "DATE", "REVERSE DISPLAYFROM SIZE"),
		w.pick("ALL", "ALL", "ALL", "UNSEEN", "FLAGGED", "BODY xx", fmt.Sprintf("UID %d:*", 1+w.rng.IntN(w.made))))
	var got, want string
	for range 20 {
		if got, want = w.remembers.ok(command)[0], w.forgets.ok(command)[0]; got == want {
			return
		}
		w.remembers.ok("NOOP")
		w.forgets.ok("NOOP")
	}
	w.t.Fatalf("%s:\nwith memory    %s\nwithout memory %s", command, got, want)
}

// TestSortRemembered: a remembered order always equals the one that is computed without memory,
// whatever is added, removed or changed.
func TestSortRemembered(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			remembers, forgets := startServerOn(t, home, t.TempDir()), startServerOn(t, home, "")
			if err := remembers.provision("alice"); err != nil {
				t.Fatal(err)
			}
			w := &sortWorld{
				t: t, rng: rand.New(rand.NewPCG(seed, 8)), root: remembers.root("alice"),
				remembers: remembers.login(), forgets: forgets.login(), other: remembers.login(),
			}
			for range 150 {
				w.deliver()
			}
			for _, c := range []*testClient{w.remembers, w.forgets, w.other} {
				c.ok("SELECT INBOX")
			}
			for range 120 {
				w.compare()
				if w.rng.IntN(3) > 0 {
					w.step()
				}
			}
		})
	}
}

// putSettled writes alice's i-th message, in place if it exists, always with the same old time.
func (ts *testServer) putSettled(i int, text string) {
	ts.t.Helper()
	path := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("%d.M1P1.test:2,", 1_700_000_000+i))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		ts.t.Fatal(err)
	}
	at := time.Date(2024, 2, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, at, at); err != nil {
		ts.t.Fatal(err)
	}
}

// TestSortReadsWhatIsNew: of the messages that were sorted before, only those are read between
// which a new one may belong. This is visible because the test changes a message in place,
// which no Maildir program does.
func TestSortReadsWhatIsNew(t *testing.T) {
	cacheDir := t.TempDir()
	ts := startServerOn(t, t.TempDir(), cacheDir)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	const n = 40
	for i := range n {
		ts.putSettled(i, fmt.Sprintf("Subject: %02d\n\n", n-i))
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	backward := func(from int) (s string) {
		for i := from; i > 0; i-- {
			s += fmt.Sprint(" ", i)
		}
		return s
	}
	order := func(want string) {
		t.Helper()
		if got := c.ok("SORT (SUBJECT) UTF-8 ALL")[0]; got != "* SORT"+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	order(backward(n))
	records, err := filepath.Glob(filepath.Join(cacheDir, "messages", "*.data"))
	if err != nil || len(records) == 0 {
		t.Fatal(records, err)
	}
	for _, file := range records { // as if the cache were empty
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
	}
	ts.putSettled(n-2, "Subject: 99\n\n")
	ts.putSettled(n, "Subject: 50\n\n")
	c.ok("NOOP")
	order(backward(n) + " 41")
}

// TestSortOfMendedFile: the position of an unreadable message is not remembered.
func TestSortOfMendedFile(t *testing.T) {
	ts := startServerOn(t, t.TempDir(), t.TempDir())
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.putSettled(0, "Subject: b\n\n")
	ts.putSettled(1, "\x1f\x8b\x08 is how a compressed file begins, and this is none")
	ts.putSettled(2, "Subject: a\n\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	for range 2 {
		if told, status := c.command("SORT (SUBJECT) UTF-8 ALL"); told[0] != "* SORT 2 3 1" || !strings.HasPrefix(status, "NO ") {
			t.Errorf("%s, %s", told, status)
		}
	}
	ts.putSettled(1, "Subject: c\n\n")
	for range 2 {
		if told := c.ok("SORT (SUBJECT) UTF-8 ALL"); told[0] != "* SORT 3 1 2" {
			t.Errorf("%s", told)
		}
	}
}
