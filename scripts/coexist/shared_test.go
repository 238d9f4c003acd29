package coexist

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/maildirsize"
)

// TestRecreated: both servers delete and create the same mailbox in turn. Its UIDVALIDITY must
// increase each time, whatever the clock does.
func TestRecreated(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	last := uint32(0)
	for i := range 8 {
		creator, deleter := ours, dovecot
		if i%2 == 1 {
			creator, deleter = dovecot, ours
		}
		if i%3 == 2 {
			deleter = creator
		}
		c := dial(t, creator)
		_, err := c.Do("CREATE again")
		must(t, err)
		f := agree(t, What{Subscribe: true}, false, creator, deleter).Folders["again"]
		if f.UIDValidity <= last {
			t.Fatalf("UIDVALIDITY is %d after it was %d, created by %s", f.UIDValidity, last, creator.Name)
		}
		last = f.UIDValidity
		_, err = dial(t, deleter).Do("DELETE again")
		must(t, err)
	}
}

// TestLeftLock: a folder contains the lock of a program that died. Both servers
// must continue to work.
func TestLeftLock(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	dead := exec.Command("true")
	must(t, dead.Run())
	host, err := os.Hostname()
	must(t, err)
	for _, s := range []*Server{ours, dovecot} {
		lock := filepath.Join(site.Root, "dovecot-uidlist.lock")
		must(t, os.WriteFile(lock, fmt.Appendf(nil, "%d:%s", dead.Process.Pid, host), 0o600))
		must(t, os.WriteFile(filepath.Join(site.Root, "new", "1700000000.1."+s.Name[:1]), []byte("Message-ID: <left@x.test>\n\n"), 0o600))
		must(t, site.Own())
		f, err := readFolder(dial(t, s), "INBOX", false)
		must(t, err)
		if len(f.Messages) == 0 {
			t.Errorf("%s shows no mail", s.Name)
		}
		if _, err := os.Stat(lock); err == nil {
			t.Errorf("%s left the lock there", s.Name)
		}
	}
	agree(t, What{}, false, ours, dovecot)
}

// TestMaildirsize delivers, appends, copies, moves and expunges messages and deletes a
// mailbox in a Maildir where other programs count the mail: the lines of maildirsize must add
// up to the actual usage.
func TestMaildirsize(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	path := filepath.Join(site.Root, "maildirsize")
	const quota = "1000000000S\n"
	must(t, os.WriteFile(path, []byte(quota+"0 0\n"), 0o600))
	must(t, site.Own())
	ours := startMaildird(t, site, 0)
	c := dial(t, ours)
	do := func(format string, args ...any) {
		t.Helper()
		_, err := c.Do(format, args...)
		must(t, err)
	}
	do("CREATE Kept")
	do("CREATE Dropped")
	rng := rand.New(rand.NewPCG(1, 1))
	lmtp := NewLMTPActor("lmtp", ours, NewLedger())
	defer lmtp.Close()
	for range 4 {
		_, err := lmtp.Step(rng)
		must(t, err)
	}
	for i := range 5 {
		text := sprintf("Message-ID: <%d@x.test>\r\n\r\n%s\r\n", i, strings.Repeat("x", 100*i))
		do("APPEND INBOX (\\Seen) {%d+}\r\n%s", len(text), text)
	}
	do("SELECT INBOX")
	do("COPY 1:4 Dropped")
	do("COPY 2:3 Kept")
	do("MOVE 4:5 Kept")
	do("STORE 1 +FLAGS (\\Deleted)")
	do("EXPUNGE")
	do("DELETE Dropped")

	var wantBytes, bytes int64
	var wantMessages, messages int
	for _, dir := range []string{site.Root, filepath.Join(site.Root, ".Kept")} {
		d, err := dirfd.Open(dir)
		must(t, err)
		b, n := maildirsize.Folder(d)
		must(t, d.Close())
		wantBytes, wantMessages = wantBytes+b, wantMessages+n
	}
	text, err := os.ReadFile(path)
	must(t, err)
	lines, ok := strings.CutPrefix(string(text), quota)
	if !ok {
		t.Fatalf("the quota is gone: %q", text)
	}
	for line := range strings.Lines(lines) {
		var b int64
		var n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &b, &n); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		bytes, messages = bytes+b, messages+n
	}
	if wantMessages < 8 || bytes != wantBytes || messages != wantMessages {
		t.Errorf("maildirsize adds up to %d bytes in %d messages, there are %d in %d:\n%s", bytes, messages, wantBytes, wantMessages, text)
	}
}

// TestCopy: both servers copy the same messages, each to a different mailbox. A copy must be a
// hard link with the time of the original, and keep its name unless that would be wrong there.
func TestCopy(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	const text = "Message-ID: <copy@x.test>\n\nhello\n"
	names := []string{ // in the order of their UIDs
		"1500000001.M1P1.mx,S=" + fmt.Sprint(len(text)) + ":2,S",
		"1500000002.plain.mx:2,",
		"1500000003.M1P1.mx,U=7:2,F", // mbsync would take it for its message 7
		"1500000004.taken.mx:2,S",
	}
	for _, name := range names {
		path := filepath.Join(site.Root, "cur", name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, os.Chtimes(path, corpusEpoch, corpusEpoch))
	}
	must(t, site.Own())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	for _, s := range []*Server{ours, dovecot} {
		c := dial(t, s)
		folder := "By " + s.Name
		dir := filepath.Join(site.Root, "."+folder)
		for _, command := range []string{"CREATE " + quote(folder), "SELECT INBOX", "COPY 4 " + quote(folder), "COPY 1:4 " + quote(folder)} {
			_, err := c.Do("%s", command)
			must(t, err)
		}
		list, err := os.ReadFile(filepath.Join(dir, "dovecot-uidlist"))
		must(t, err)
		for i, name := range names {
			base, _, _ := strings.Cut(name, ":")
			kept := strings.Contains(string(list), ":"+base+"\n")
			// Dovecot also keeps a foreign U=.
			if want := i != 2 || s == dovecot; kept != want {
				t.Errorf("%s: the base %s is in the list: %v, want %v\n%s", s.Name, base, kept, want, list)
			}
			if s == ours && i >= 2 && !strings.Contains(string(list), " G"+base+" ") {
				t.Errorf("no record says that its message is that of %s:\n%s", base, list)
			}
		}
		files := 0
		for _, sub := range []string{"new", "cur"} {
			entries, err := os.ReadDir(filepath.Join(dir, sub))
			must(t, err)
			for _, e := range entries {
				st, err := e.Info()
				must(t, err)
				files++
				if st.Sys().(*syscall.Stat_t).Nlink < 2 || !st.ModTime().Equal(corpusEpoch) {
					t.Errorf("%s: %s has %d links and the time %s", s.Name, e.Name(), st.Sys().(*syscall.Stat_t).Nlink, st.ModTime())
				}
			}
		}
		if files != 5 {
			t.Errorf("%s made %d files, want 5", s.Name, files)
		}
	}
	agree(t, What{Dates: true}, false, ours, dovecot)
}

// TestCopyOfCopy: Dovecot copies maildird's copies, in a session that does not know them yet.
// All must have the right RFC822.SIZE.
func TestCopyOfCopy(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	const text = "Message-ID: <copy@x.test>\n\nhello\n"
	size := len(text) + strings.Count(text, "\n")
	for _, name := range []string{
		fmt.Sprintf("1500000001.both.mx,S=%d,W=%d:2,S", len(text), size),
		"1500000002.plain.mx:2,S",
	} {
		must(t, os.WriteFile(filepath.Join(site.Root, "cur", name), []byte(text), 0o600))
	}
	must(t, site.Own())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	c := dial(t, ours)
	for _, command := range []string{"SELECT INBOX", "COPY 1:2 INBOX", "CREATE Copies"} {
		_, err := c.Do("%s", command)
		must(t, err)
	}
	d := dial(t, dovecot)
	for _, command := range []string{"SELECT INBOX", "COPY 3:4 Copies", "SELECT Copies"} {
		_, err := d.Do("%s", command)
		must(t, err)
	}
	sizes, err := d.Do("FETCH 1:2 RFC822.SIZE")
	must(t, err)
	want := fmt.Sprintf("RFC822.SIZE %d)", size)
	if len(sizes) != 2 || slices.ContainsFunc(sizes, func(r Response) bool { return !strings.Contains(r.Text, want) }) {
		t.Errorf("Dovecot has sizes of %v, want %s", sizes, want)
	}
	agree(t, What{Dates: true}, false, ours, dovecot)
}
