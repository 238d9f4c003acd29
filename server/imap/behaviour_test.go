package imap

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir"
	"maildird/scripts/rig"
	"maildird/scripts/rig/leaks"
	"maildird/server/limit"
	"maildird/server/servertest"
)

// Sessions, their servers and everything they open must leave no goroutine behind.
func TestMain(m *testing.M) {
	// The dialogues contain local dates, like those of Dovecot.
	if err := os.Setenv("TZ", "UTC"); err != nil {
		panic(err)
	}
	time.Local = time.UTC
	leaks.Main(m)
}

// TestPipelined sends many commands without waiting. They must be answered in order, and each
// must see the effect of the one before.
func TestPipelined(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.dial()
	const n = 400
	var all strings.Builder
	all.WriteString("l LOGIN alice secret\r\ns SELECT INBOX\r\n")
	for i := range n {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&all, "t%d APPEND INBOX {3+}\r\nabc\r\n", i)
		case 1:
			fmt.Fprintf(&all, "t%d STORE %d +FLAGS.SILENT (\\Deleted)\r\n", i, 1)
		case 2:
			fmt.Fprintf(&all, "t%d EXPUNGE\r\n", i)
		case 3:
			fmt.Fprintf(&all, "t%d UID FETCH 1:* FLAGS\r\n", i) // there is none
		}
	}
	go func() { _, _ = io.WriteString(c.conn, all.String()) }()
	next, exists := 0, 0
	for next < n {
		line := c.line()
		switch {
		case strings.HasSuffix(line, " EXISTS"):
			exists++
		case line[0] == 't':
			if want := fmt.Sprintf("t%d OK ", next); !strings.HasPrefix(line, want) {
				t.Fatalf("%s, want %s", line, want)
			}
			next++
		case strings.Contains(line, " FETCH "):
			t.Fatalf("%s: the message was expunged", line)
		}
	}
	if exists != n/4+1 {
		t.Errorf("told %d times of messages, want %d", exists, n/4+1)
	}
}

// big adds a message of the given size to alice's INBOX.
func (ts *testServer) big(t *testing.T, size int) {
	t.Helper()
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.deliver(t, "1706933101.M1P1.test:2,S", "Subject: big\n\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", size/71))
}

// TestSlowReader: while a client requests much data and reads nothing, others can
// use the same mailbox.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	ts.big(t, 12<<20) // more than socket buffers hold
	slow := ts.login()
	slow.ok("SELECT INBOX")
	slow.send("a FETCH 1 BODY[]\r\nb FETCH 1 BODY[]\r\nc STORE 1 +FLAGS (\\Answered)\r\n")
	slow.line() // the response has begun
	for range 2 {
		c := ts.login()
		c.ok("SELECT INBOX")
		c.ok("STORE 1 +FLAGS (\\Flagged)")
		c.ok("APPEND INBOX {3+}\r\nabc")
		c.ok("SEARCH SUBJECT nothing")
		c.ok("STORE 2 +FLAGS (\\Deleted)")
		c.ok("EXPUNGE")
		c.ok("LOGOUT")
	}
}

// TestDisconnectInterrupts: when clients disconnect in the middle of long commands,
// their sessions end soon.
func TestDisconnectInterrupts(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	ts.big(t, 4<<20)
	for _, command := range []string{"FETCH 1 BODY[]", "SEARCH TEXT nothing", "IDLE", "APPEND INBOX {100}", "NOOP"} {
		c := ts.login()
		c.ok("SELECT INBOX")
		c.send(strings.Repeat("a "+command+"\r\n", 50))
		_ = c.conn.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for ts.count() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are still there", ts.count())
		}
		time.Sleep(5 * time.Millisecond)
	}
	left, err := os.ReadDir(filepath.Join(ts.root("alice"), "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("tmp/ has %v, %v", left, err)
	}
}

func (ts *testServer) count() int {
	return ts.sessions.Len()
}

// TestShutdown: a shutdown sends BYE to all idle clients, lets a running command finish,
// and accepts no connections.
func TestShutdown(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	stranger, half, proving := ts.dial(), ts.dial(), ts.dial()
	for _, c := range []*testClient{stranger, half, proving} {
		c.line()
	}
	half.send("a LOGIN al")
	proving.send("a AUTHENTICATE PLAIN\r\n")
	proving.line()
	quiet := ts.login()
	quiet.ok("SELECT INBOX")
	idle := ts.login()
	idle.ok("SELECT INBOX")
	idle.send("i IDLE\r\n")
	idle.line()
	busy := ts.login()
	busy.send("a APPEND INBOX {6}\r\n")
	busy.line()
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ended <- ts.Shutdown(ctx)
	}()
	for _, c := range []*testClient{stranger, half, proving, quiet, idle} {
		c.ends("shutting down")
	}
	// The message whose transfer had begun is stored.
	busy.send("abc\r\nd\r\n")
	if line := busy.line(); !strings.HasPrefix(line, "a OK [APPENDUID ") {
		t.Errorf("APPEND during shutdown: %s", line)
	}
	busy.ends("shutting down")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !rig.Closed(ts.listener) {
		t.Error("a stopped server takes connections")
	}
}

// TestShutdownInHandshake: a shutdown does not wait for clients that never
// continue the TLS handshake.
func TestShutdownInHandshake(t *testing.T) {
	t.Parallel()
	cert, _ := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ts.Serve(l, true) }()
	implicit, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer implicit.Close()
	c := ts.dial()
	c.line()
	c.ok("STARTTLS")
	for deadline := time.Now().Add(time.Minute); ts.count() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server has not taken both connections")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Errorf("a client that says nothing held the server: %v", err)
	}
}

// TestLoginLogLine: a client cannot make a log line arbitrarily long.
func TestLoginLogLine(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.dial()
	c.line()
	name := strings.Repeat("x", 10_000)
	c.fails("LOGIN "+name+" wrong", "NO [AUTHENTICATIONFAILED]")
	for line := range strings.Lines(ts.log.Take()) {
		if len(line) > 1000 {
			t.Errorf("a line of %d octets: %.200s", len(line), line)
		}
	}
}

// TestRefusedLoginLine: a flood of unchecked logins is logged in one line.
func TestRefusedLoginLine(t *testing.T) {
	t.Parallel()
	ts := startServer(t, func(c *Config, _ *maildir.AccountOptions) { c.Logins.Passwords = &servertest.Refusing{} })
	for range 3 {
		c := ts.dial()
		c.line()
		c.fails("LOGIN alice secret", "NO [UNAVAILABLE]")
		c.fails("LOGIN alice secret", "NO [UNAVAILABLE]")
	}
	if log := ts.log.Take(); strings.Count(log, `msg="login refused"`) != 1 {
		t.Error(log)
	}
}

// TestConnectionLimits: a client with too many connections is refused politely.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	ts := startServer(t, func(c *Config, _ *maildir.AccountOptions) {
		c.Connections = limit.New(limit.Limits{PerIP: 4, PerUser: 2})
	})
	one, two := ts.login(), ts.login()
	three := ts.dial()
	three.line()
	three.fails("LOGIN alice secret", "NO [LIMIT]")
	three.ok("LOGIN bob secret")
	ts.dial()
	ts.dial().ends("Too many connections")
	if log := ts.log.Take(); !strings.Contains(log, `reason="Too many connections from your address." more="not logged again`) {
		t.Errorf("log %s", log)
	}
	one.ok("LOGOUT")
	two.ok("NOOP")
}

// TestTimeouts: silent connections are closed.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	ts := startServer(t, withTimeouts(Timeouts{Login: 50 * time.Millisecond}))
	ts.dial().ends("inactivity")
	ts = startServer(t, withTimeouts(Timeouts{Idle: 50 * time.Millisecond, Read: 50 * time.Millisecond, StillHere: 10 * time.Millisecond}))
	ts.login().ends("inactivity")
	// In one write, or the time could be over before the second command.
	c := ts.dial()
	c.line()
	c.send("l LOGIN alice secret\r\na IDLE\r\n")
	for line := c.line(); !strings.HasPrefix(line, "+"); line = c.line() {
		if !strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "l OK ") {
			t.Fatalf("LOGIN and IDLE: %s", line)
		}
	}
	for {
		line := c.line()
		if line == "* OK Still here" {
			continue
		}
		if !strings.HasPrefix(line, "* BYE ") {
			t.Errorf("after IDLE was too long: %s", line)
		}
		break
	}
	c = ts.dial()
	c.line()
	c.send("l LOGIN alice secret\r\na LOGIN {5}\r\n") // and nothing more
	for {
		if _, err := c.tryLine(); err != nil {
			break
		}
	}
}

// TestDeleteLeavesFiles: a mailbox counts as deleted even if some of its files
// cannot be removed.
func TestDeleteLeavesFiles(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	c.ok("CREATE a")
	uses := filepath.Join(ts.root("alice"), "maildird-specialuse")
	if err := os.Remove(uses); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(uses, 0o700); err != nil { // so that it cannot be edited
		t.Fatal(err)
	}
	c.ok("DELETE a")
	if told := c.ok(`LIST "" a`); len(told) > 0 {
		t.Errorf("told %q", told)
	}
	if log := ts.log.String(); !strings.Contains(log, "files of a deleted mailbox are left") {
		t.Errorf("the log does not tell of it: %s", log)
	}
}
