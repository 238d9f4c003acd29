package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenSnapshot: when what the cache knows of a mailbox's messages cannot be read any
// more after the mailbox was opened, no command says that it has told of all of them, or
// has done something with them. Who opens the mailbox again sees them.
func TestBrokenSnapshot(t *testing.T) {
	const messages = 300 // two pages
	home, cache := t.TempDir(), t.TempDir()
	ts := startServerOn(t, home, cache)
	must(t, ts.provision("alice"))
	plantMessages(t, ts, messages, "S")
	for _, command := range []string{
		"", "UID FETCH 1:* (FLAGS)", "FETCH 1:* (RFC822.SIZE)", "UID SEARCH ALL", "UID SORT (SUBJECT) UTF-8 ALL", `UID STORE 1:* +FLAGS (\Flagged)`,
		"UID COPY 1:* Archive", "UID MOVE 1:* Archive", "UID EXPUNGE 1:*", "STATUS INBOX (SIZE)", `ESEARCH IN (mailboxes INBOX) UID 1:*`, "CLOSE",
	} {
		t.Run(command, func(t *testing.T) {
			ts := startServerOn(t, home, cache)
			defer ts.stop()
			c := ts.login()
			looks := strings.HasPrefix(command, "STATUS") || strings.HasPrefix(command, "ESEARCH")
			other := ts.login() // has it open when it is not selected
			other.ok("SELECT INBOX")
			if !looks {
				c.ok("SELECT INBOX")
				other.ok("UNSELECT")
			}
			if command != "" {
				spoilSnapshots(t, cache)
				lines, _ := answerX(c, "x "+command)
				if line := lines[len(lines)-1]; strings.HasPrefix(line, "x OK") && !strings.Contains(line, "Not all mailboxes") {
					t.Errorf("it is answered %q", line)
				}
			}
			_ = c.conn.Close() // or else the server waits for it
			_ = other.conn.Close()
			again := ts.login()
			again.ok("SELECT INBOX")
			if untagged := again.ok("UID FETCH 1:* (FLAGS)"); len(untagged) != messages {
				t.Errorf("afterwards there are %d messages", len(untagged))
			}
			again.ok("LOGOUT")
		})
	}
}

// TestBrokenFromTheStart: nor does a SELECT that first meets it say OK, and no message is
// said to have vanished, which a client would forget at once.
func TestBrokenFromTheStart(t *testing.T) {
	home, cache := t.TempDir(), t.TempDir()
	ts := startServerOn(t, home, cache)
	must(t, ts.provision("alice"))
	plantMessages(t, ts, 300, "") // two pages
	c := ts.login()
	c.ok("ENABLE QRESYNC")
	selected := strings.Join(c.ok("SELECT INBOX"), "")
	_, validity, _ := strings.Cut(selected, "[UIDVALIDITY ")
	validity, _, _ = strings.Cut(validity, "]")
	c.ok("LOGOUT")
	ts.stop()
	for _, command := range []string{
		"x SELECT INBOX", "x SELECT INBOX (QRESYNC (" + validity + " 1))",
		"y ENABLE IMAP4rev2\r\ny SELECT INBOX\r\nx UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
	} {
		t.Run(command, func(t *testing.T) {
			ts := startServerOn(t, home, cache)
			defer ts.stop()
			spoilUnseen(t, cache)
			c := ts.login()
			c.ok("ENABLE QRESYNC")
			lines, _ := answerX(c, command)
			for _, line := range lines {
				if strings.HasPrefix(line, "x ") || strings.Contains(line, "VANISHED") {
					t.Errorf("it says %q", line)
				}
			}
			_ = c.conn.Close() // or else the server waits for it
			again := ts.login()
			again.ok("SELECT INBOX") // and keep it for the next one
			again.ok("LOGOUT")
		})
	}
}

// TestBrokenTarget: what is refused because of a mailbox that is not selected is not done.
func TestBrokenTarget(t *testing.T) {
	for _, command := range []string{"APPEND INBOX {3+}\r\nabc", "UID COPY 1 INBOX", "RENAME INBOX Old"} {
		t.Run(command, func(t *testing.T) {
			home, cache, messages := t.TempDir(), t.TempDir(), 300 // two pages
			ts := startServerOn(t, home, cache)
			must(t, ts.provision("alice"))
			root := ts.root("alice")
			plantMessages(t, ts, messages, "")
			must(t, os.WriteFile(filepath.Join(root, ".Archive", "cur", "1700000000.M1P1.host:2,S"), []byte("Subject: x\n\ntext\n"), 0o600))
			c := ts.login()
			c.ok("SELECT INBOX")
			c.ok("LOGOUT")
			ts.stop()
			ts = startServerOn(t, home, cache)
			defer ts.stop()
			c = ts.login()
			c.ok("SELECT Archive")
			spoilUnseen(t, cache)
			lines, err := answerX(c, "x "+command)
			must(t, err)
			line := lines[len(lines)-1]
			if done := strings.HasPrefix(line, "x OK"); done && strings.HasPrefix(command, "RENAME") {
				messages = 0
			} else if done {
				messages++
			}
			files, err := filepath.Glob(filepath.Join(root, "[cn]*", "17*"))
			must(t, err)
			if len(files) != messages {
				t.Errorf("after %q there are %d messages, not %d", line, len(files), messages)
			}
			_ = c.conn.Close() // or else the server waits for it
		})
	}
}

// spoilUnseen is spoilSnapshots by what does not show in the time of the file, such as a
// medium that cannot be read.
func spoilUnseen(t *testing.T, cache string) {
	t.Helper()
	times := map[string]os.FileInfo{}
	paths, err := filepath.Glob(filepath.Join(cache, "messages", "*.whole"))
	must(t, err)
	for _, path := range paths {
		times[path], err = os.Stat(path)
		must(t, err)
	}
	spoilSnapshots(t, cache)
	for path, st := range times {
		must(t, os.Chtimes(path, st.ModTime(), st.ModTime()))
	}
}

// TestBrokenForAnother: another session finds out that what the cache knows of the selected
// mailbox is broken. A command that leaves that mailbox then succeeds or ends the session: a
// NO would tell the client that a mailbox cannot be selected which is, or the reverse.
func TestBrokenForAnother(t *testing.T) {
	home, cache := t.TempDir(), t.TempDir()
	ts := startServerOn(t, home, cache)
	must(t, ts.provision("alice"))
	plantMessages(t, ts, 300, "S") // two pages
	c := ts.login()
	c.ok("SELECT INBOX")
	c.ok("LOGOUT")
	ts.stop()
	for _, command := range []string{"SELECT Archive", "EXAMINE Archive", "UNSELECT", "CLOSE", "UNAUTHENTICATE", "LOGOUT"} {
		t.Run(command, func(t *testing.T) {
			ts := startServerOn(t, home, cache)
			defer ts.stop()
			c, other := ts.login(), ts.login()
			c.ok("SELECT INBOX")
			other.ok("SELECT INBOX")
			spoilSnapshots(t, cache)
			if lines, err := answerX(other, "x UID FETCH 1:* (FLAGS)"); err == nil {
				t.Errorf("it is answered %q", lines[len(lines)-1])
			}
			lines, _ := answerX(c, "x "+command)
			if line := lines[len(lines)-1]; strings.HasPrefix(line, "x NO") {
				t.Errorf("it is answered %q", line)
			}
			_ = c.conn.Close() // or else the server waits for it
			_ = other.conn.Close()
			again := ts.login()
			again.ok("SELECT INBOX") // and keep it for the next one
			again.ok("LOGOUT")
		})
	}
}

// plantMessages adds messages with these flags to alice's INBOX.
func plantMessages(t *testing.T, ts *testServer, messages int, flags string) {
	t.Helper()
	for n := range messages {
		name := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("17%08d.M%dP1.host:2,%s", n, n, flags))
		must(t, os.WriteFile(name, []byte("Subject: x\n\ntext\n"), 0o600))
	}
}

// answerX sends a command with the tag x and returns all lines up to its tagged reply, or up
// to the end of the connection, with the error. The last line may be empty then.
func answerX(c *testClient, command string) (lines []string, err error) {
	c.send(command + "\r\n")
	for {
		line, err := c.tryLine()
		lines = append(lines, line)
		if err != nil || strings.HasPrefix(line, "x ") {
			return lines, err
		}
	}
}

// spoilSnapshots overwrites the first page of each snapshot.
func spoilSnapshots(t *testing.T, cache string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cache, "messages", "*.whole"))
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("there is no snapshot")
	}
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte(strings.Repeat("\xff", 200)), 64)
		must(t, err)
		must(t, f.Close())
	}
}
