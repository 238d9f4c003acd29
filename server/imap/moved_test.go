package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMaildirReplaced: a Maildir is moved away while clients are connected, and a copy takes
// its place, as when an operator restores a backup without stopping the server. No session may
// continue with the Maildir that was moved away: everything stored there would be lost with it.
func TestMaildirReplaced(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	root := ts.root("alice")
	idle, reading, none := ts.login(), ts.login(), ts.login()
	idle.ok("CREATE Work")
	idle.ok("SELECT INBOX")
	reading.ok("SELECT Work")
	none.ok("NOOP") // has just checked the path
	idle.send("i IDLE\r\n")
	if line := idle.line(); line != "+ idling" {
		t.Fatal(line)
	}
	if err := os.CopyFS(root+".copy", os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(root, root+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(root+".copy", root); err != nil {
		t.Fatal(err)
	}
	idle.ends("replaced") // although the client sends nothing
	endsSoon(t, reading)
	endsSoon(t, none)

	again := ts.login()
	again.ok("SELECT Work")
	again.ok("APPEND Work {16+}\r\nSubject: x\r\n\r\ny\r\n")
	found, err := filepath.Glob(filepath.Join(root, ".Work", "*", "*.*"))
	if err != nil || len(found) != 1 {
		t.Errorf("the new Maildir has %q, %v", found, err)
	}
}

// endsSoon sends commands until the session ends: the server checks the path once a second.
func endsSoon(t *testing.T, c *testClient) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for i := 0; time.Now().Before(deadline); i++ {
		_, _ = fmt.Fprintf(c.conn, "n%d NOOP\r\n", i) // the session may have ended
		if strings.HasPrefix(c.line(), "* BYE") {
			return
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.in.Peek(1); err == nil && strings.HasPrefix(c.line(), "* BYE") {
			return
		}
	}
	t.Fatal("the session goes on")
}

// TestFolderRemovedBeforeFetch: the selected folder is removed before its messages are read.
// The messages count as removed, and there is no error that the operator must know about.
func TestFolderRemovedBeforeFetch(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	c.ok("CREATE Work")
	for range 3 {
		c.ok("APPEND Work {16+}\r\nSubject: x\r\n\r\ny\r\n")
	}
	c.ok("SELECT Work")
	if err := os.RemoveAll(filepath.Join(ts.root("alice"), ".Work")); err != nil {
		t.Fatal(err)
	}
	c.send("a FETCH 1:* BODY.PEEK[]\r\n")
	c.ends("replaced")
	if log := ts.log.Take(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log has\n%s", log)
	}
}
