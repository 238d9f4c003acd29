package imap

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWaitingForNobody: a session that waits for another program's lock ends
// when its client disconnects.
func TestWaitingForNobody(t *testing.T) {
	ts := startServer(t)
	for _, c := range []struct{ lock, command string }{
		{"mailboxes.lock", "CREATE Work"},
		{"dovecot-uidlist.lock", "SELECT INBOX"},
	} {
		s := ts.login()
		held, err := os.Create(filepath.Join(ts.root("alice"), c.lock))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second) // before any of the lock waits times out
		s.send("a " + c.command + "\r\n")
		if err := s.conn.Close(); err != nil {
			t.Fatal(err)
		}
		for ts.sessions.Len() > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s still waits for a client that is gone", c.command)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := os.Remove(held.Name()); err != nil {
			t.Fatal(err)
		}
		_ = held.Close()
	}
}
