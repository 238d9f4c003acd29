package coexist

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRecreated has both servers delete and create one mailbox in turn: its
// UIDVALIDITY grows each time, whatever the clock says meanwhile.
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

// TestLeftLock puts the lock of a program that died into a folder: both servers
// go on.
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
