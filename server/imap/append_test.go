package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAppendDates appends messages with dates that a file may not be able to have. The server
// must return the nearest date that the file can have.
func TestAppendDates(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.login()
	c.ok("SELECT INBOX")
	tests := []struct {
		date        string
		first, last int // the allowed years
	}{
		{"17-Jul-1996 02:44:25 -0700", 1996, 1996},
		{"31-Dec-1999 23:59:60 +0000", 2000, 2000},
		{"01-Jan-2037 00:00:00 +0000", 2037, 2037},
		{"01-Jan-2300 00:00:00 +0000", 2037, 2300},
		{"01-Jan-9999 00:00:00 +0000", 2037, 9999},
		{"01-Jan-1600 00:00:00 +0000", 1600, 1970},
		{"01-Jan-0001 00:00:00 +0000", 1, 1970},
	}
	for i, tt := range tests {
		c.ok(`APPEND INBOX "` + tt.date + "\" {3+}\r\nabc")
		line := c.ok(fmt.Sprintf("FETCH %d INTERNALDATE", i+1))[0]
		_, quoted, _ := strings.Cut(line, `INTERNALDATE "`)
		date, _, _ := strings.Cut(quoted, `"`)
		got, err := time.Parse("_2-Jan-2006 15:04:05 -0700", date)
		if err != nil {
			t.Fatal(line, err)
		}
		if got.UTC().Year() < tt.first || got.UTC().Year() > tt.last {
			t.Errorf("%s came back as %s", tt.date, date)
		}
	}
}

// TestAppendCut closes the connection in the middle of messages. Nothing of them may be left,
// not even in tmp/, and the message that REPLACE was to replace must still exist.
func TestAppendCut(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.deliver(t, "1706933101.M1P1.test:2,S", "Subject: x\n\nx\n")
	long := strings.Repeat("x", 100_000)
	sent := []string{
		"APPEND INBOX {200000+}\r\n" + long,
		"APPEND INBOX (\\Seen) {3+}\r\nabc {200000+}\r\n" + long,
		"APPEND INBOX {3+}\r\nabc (\\Se",
		"APPEND INBOX {3+}\r\nabc",
		"APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {200000+}\r\n" + long,
		"APPEND INBOX CATENATE (TEXT {3+}\r\nabc URL \"/INBOX/;UI",
		"APPEND INBOX ~{200000+}\r\n" + long,
		"REPLACE 1 INBOX {200000+}\r\n" + long,
		"UID REPLACE 1 INBOX {3+}\r\nabc",
	}
	for _, text := range sent {
		c := ts.login()
		c.ok("SELECT INBOX")
		c.send("a " + text)
		_ = c.conn.Close()
	}
	tmp := filepath.Join(ts.root("alice"), "tmp")
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		left, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && ts.sessions.Len() == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("tmp/ has %v", left)
		}
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	if lines := c.ok("UID FETCH 1:* UID"); len(lines) != 1 || lines[0] != "* 1 FETCH (UID 1)" {
		t.Errorf("INBOX has %v", lines)
	}
}

// TestInterruptedAppend: a client that disconnects or stalls before it has sent all of an APPEND
// leaves one line in the log, and no message.
func TestInterruptedAppend(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, sent, announced string }{
		{"in the message", "APPEND INBOX {100+}\r\nSubject: x\r\n", "100"},
		{"before the end of the line", "APPEND INBOX {3+}\r\nabc", "3"},
		{"before the LF", "APPEND INBOX {3+}\r\nabc\r", "3"},
		{"before another message", "APPEND INBOX {3+}\r\nabc (\\Se", "3"},
		{"in another message", "APPEND INBOX {3+}\r\nabc {100+}\r\nSubject: x\r\n", "103"},
		{"between parts", "APPEND INBOX CATENATE (TEXT {3+}\r\nabc", "0"},
		{"REPLACE", "REPLACE 1 INBOX {3+}\r\nabc", "3"},
	}
	for _, tt := range tests {
		for _, stalls := range []bool{false, true} {
			name := tt.name
			if stalls {
				name += ", stalls"
			}
			t.Run(name, func(t *testing.T) { interruptAppend(t, tt.sent, tt.announced, stalls) })
		}
	}
}

func interruptAppend(t *testing.T, sent, announced string, stalls bool) {
	var timeouts Timeouts
	if stalls {
		timeouts.Read = time.Second
	}
	ts := startServer(t, withTimeouts(timeouts))
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.deliver(t, "1706933101.M1P1.test:2,S", "Subject: x\n\nx\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	c.send("a " + sent)
	why := "timeout waiting for the client"
	if !stalls {
		why = "connection closed"
		_ = c.conn.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(ts.log.String(), `msg="logged out"`) {
		if time.Now().After(deadline) {
			t.Fatal("the session does not end:\n", ts.log.String())
		}
		time.Sleep(time.Millisecond)
	}
	log := ts.log.String()
	interrupted := fmt.Sprintf(" user=alice@example.org mailbox=INBOX announced=%s reason=%q", announced, why)
	if strings.Count(log, `msg="message interrupted"`) != 1 || !strings.Contains(log, interrupted) {
		t.Error(log)
	}
	if strings.Count(log, fmt.Sprintf(" reason=%q\n", why)) != 2 { // also in "logged out"
		t.Errorf("the reason is not %q in both lines:\n%s", why, log)
	}
	if got := ts.login().ok("STATUS INBOX (MESSAGES)"); len(got) != 1 || !strings.Contains(got[0], "(MESSAGES 1)") {
		t.Errorf("there is %q", got)
	}
}

// TestAppendToRemoved removes a mailbox, as Dovecot does, while a message for it is being
// received: the answer is NO, and the session and its selected mailbox keep working.
func TestAppendToRemoved(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.login()
	c.ok("CREATE box")
	c.ok("SELECT INBOX")
	c.send("a APPEND box {3}\r\n")
	if line := c.line(); !strings.HasPrefix(line, "+ ") {
		t.Fatal(line)
	}
	folder, trash := filepath.Join(ts.root("alice"), ".box"), filepath.Join(ts.root("alice"), "..DOVECOT-TRASHED")
	if err := os.Rename(folder, trash); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(trash); err != nil {
		t.Fatal(err)
	}
	c.send("abc\r\n")
	if line := c.line(); !strings.HasPrefix(line, "a NO [NONEXISTENT] ") {
		t.Errorf("answered %q", line)
	}
	c.ok("NOOP")
	c.ok("UID FETCH 1:* FLAGS")
	if log := ts.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("logged:\n%s", log)
	}
}
