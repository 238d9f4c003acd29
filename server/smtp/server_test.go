package smtp

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"maildird/auth"
	"maildird/scripts/rig"
	"maildird/scripts/rig/leaks"
	"maildird/server/limit"
	"maildird/server/servertest"
)

// eventually waits until ok returns true because of other goroutines.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

func (ts *testServer) connections() int {
	return ts.conns.Len()
}

func TestIdleClientIsSentAway(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Timeouts.Command = 100 * time.Millisecond })
	c := ts.dial()
	c.expect("220")
	c.expect("421 4.4.2")
	c.expectEnd()
	if log := ts.log.String(); !strings.Contains(log, `msg=disconnected`) || !strings.Contains(log, ` reason="timeout waiting for the client"`) {
		t.Error(log)
	}
}

func TestSessionTimeEnds(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Timeouts.Session = 100 * time.Millisecond })
	c := ts.dial()
	c.expect("220")
	c.expect("421 4.4.2")
	c.expectEnd()
}

// interrupted waits for the single log line about an incomplete message to alice.
func (ts *testServer) interrupted(want string) {
	ts.t.Helper()
	eventually(ts.t, "the log names a message that was interrupted, "+want, func() bool {
		log := ts.log.String()
		_, line, found := strings.Cut(log, `msg="message interrupted"`)
		line, _, _ = strings.Cut(line, "\n")
		return found && strings.Count(log, "interrupted") == 1 &&
			strings.Contains(line, " from=s@client.example to=alice@example.org "+want)
	})
}

// TestEndlessMessage: a client that sends far too much is cut off, and one line of the log says whose
// message that was.
func TestEndlessMessage(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Limits.Message = 1000 })
	c := ts.hello()
	c.begin("alice@example.org")
	c.send(strings.Repeat("0123456789\r\n", 5000))
	c.expect("552 5.3.4 ")
	c.expect("421 4.7.0 ")
	c.expectEnd()
	const want = `-1 from=s@client.example to=alice@example.org reply="552 5.3.4 Message is larger than 1000 octets"`
	if log := ts.log.String(); strings.Count(log, `msg="message `) != 1 || !strings.Contains(log, want) {
		t.Error(log)
	}
}

// TestLostConnection: a client that disconnects in the middle of a message leaves a line in the
// log, since its sender may ask where the message is.
func TestLostConnection(t *testing.T) {
	for name, begin := range map[string]func(c *client){
		"DATA":           func(c *client) { c.say("DATA", "354"); c.send("Subject: x\r\n") },
		"BDAT":           func(c *client) { c.send("BDAT 100\r\nSubject: x\r\n") },
		"between chunks": func(c *client) { c.send("BDAT 12\r\nSubject: x\r\n"); c.expect("250") },
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t, MX)
			c := ts.hello()
			c.say("MAIL FROM:<s@client.example>", "250")
			c.say("RCPT TO:<alice@example.org>", "250")
			begin(c)
			_ = c.conn.Close()
			ts.interrupted(`size=11 reason="connection closed"`)
		})
	}
}

func TestShutdown(t *testing.T) {
	ts := startServer(t, MX)
	idle, sending := ts.hello(), ts.hello()
	sending.begin("alice@example.org")
	sending.send("Subject: in flight\r\n")
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		ended <- ts.Shutdown(ctx)
	}()
	idle.expect("421 4.3.2")
	idle.expectEnd()
	if !rig.Closed(ts.listener) {
		t.Error("new connections are accepted")
	}
	select {
	case err := <-ended:
		t.Fatal("ended with a message in flight:", err)
	default:
	}
	sending.send("\r\nthe rest\r\n.\r\n")
	sending.expect("250 2.0.0")
	sending.expect("421 4.3.2")
	sending.expectEnd()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := ts.mail("alice"); len(got) != 1 || untraced(t, got[0]) != "Subject: in flight\n\nthe rest\n" {
		t.Errorf("delivered %q", got)
	}
}

func TestShutdownCutsOff(t *testing.T) {
	ts := startServer(t, MX)
	c, server := ts.hurriedHello()
	c.begin("alice@example.org")
	c.sendTo(server, "Subject: never ends\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := ts.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if got := ts.mail("alice"); len(got) != 0 {
		t.Errorf("delivered %q", got)
	}
	ts.noTemp()
	ts.interrupted(`size=20 reason="Server is shutting down, try again later"`)
}

func TestConnectionLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		set   func(*Config)
		reply string
	}{
		"per address": {func(c *Config) { c.Connections = limit.New(limit.Limits{PerIP: 2}) }, "421 4.7.0"},
		"all":         {func(c *Config) { c.Connections = limit.New(limit.Limits{Total: 2}) }, "421 4.3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t, MX, tt.set)
			first, second := ts.hello(), ts.hello()
			third := ts.dial()
			third.expect(tt.reply)
			third.expectEnd()
			second.say("NOOP", "250")
			first.say("QUIT", "221")
			eventually(t, "the first connection ends", func() bool { return ts.connections() == 1 })
			ts.hello().say("NOOP", "250")
		})
	}
	t.Run("not for a relay", func(t *testing.T) {
		ts := startServer(t, LMTP, func(c *Config) { c.Connections = limit.New(limit.Limits{PerIP: 1}) })
		ts.hello()
		ts.hello().say("NOOP", "250")
	})
}

// held is a listener on whose connections the server is delayed after it has
// set a write deadline.
type held struct{ net.Listener }

func (l held) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return heldConn{conn}, nil
}

type heldConn struct{ net.Conn }

func (c heldConn) SetWriteDeadline(t time.Time) error {
	err := c.Conn.SetWriteDeadline(t)
	time.Sleep(200 * time.Millisecond)
	return err
}

// TestRefusalOnBusyMachine: a client that exceeds the limit of connections receives the
// refusal, even if the server is delayed for a moment.
func TestRefusalOnBusyMachine(t *testing.T) {
	t.Parallel()
	ts := startServer(t, MX, func(c *Config) { c.Connections = limit.New(limit.Limits{PerIP: 1}) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listen(held{l}, false)
	ts.hello()
	ts.addr = l.Addr().String()
	c := ts.dial()
	c.expect("421 4.7.0")
	c.expectEnd()
}

// faulty is a directory that panics for one name.
type faulty struct{ Directory }

func (f faulty) Lookup(name string) (auth.User, bool) {
	if strings.HasPrefix(name, "panic") {
		panic("a fault of the program")
	}
	return f.Directory.Lookup(name)
}

func TestPanicEndsOneSession(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Users = faulty{c.Users} })
	other, c := ts.hello(), ts.hello()
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<panic@example.org>", "421 4.3.0")
	c.expectEnd()
	other.begin("alice@example.org")
	other.say(".", "250")
	if log := ts.log.String(); !strings.Contains(log, "a fault of the program") || !strings.Contains(log, "faulty.Lookup") {
		t.Error("not logged with its stack")
	}
	if ts.log.Panics() != 1 {
		t.Error("counted:", ts.log.Panics())
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestParkedConnections: an idle client costs a few KiB, even after it has sent
// a large message.
func TestParkedConnections(t *testing.T) {
	const n = 400
	ts := startServer(t, MX, func(c *Config) {
		c.Connections = limit.New(limit.Limits{PerIP: n})
		c.Log = nil
		c.setDefaults()
	})
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000) + ".\r\n"
	before := heap()
	for i := range n {
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// A small reader, since it is included in the count.
		c := &client{t, conn, bufio.NewReaderSize(conn, 512)}
		c.expect("220")
		c.say("EHLO client.example", "250")
		if i%20 == 0 {
			c.begin("alice@example.org")
			c.send(body)
			c.expect("250")
		}
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a connection, with the client's part", each)
	if each > 32<<10 {
		t.Errorf("%d bytes a connection", each)
	}
}

// TestNothingLeaks: sessions of all kinds leave neither goroutines nor file descriptors behind.
func TestNothingLeaks(t *testing.T) {
	defer leaks.None(t, goleak.IgnoreCurrent())
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc")
		}
		return len(names)
	}
	before := descriptors()
	t.Run("sessions", func(t *testing.T) {
		ts := startServer(t, MX)
		for i := range 200 {
			c := ts.hello()
			switch i % 5 {
			case 0:
				c.say("QUIT", "221")
			case 1:
				c.begin("alice@example.org", "bob@example.org")
				c.send("unfinished\r\n")
			case 2:
				c.begin("alice@example.org")
				c.say("x\r\n.", "250")
			case 3:
				c.send("MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nBDAT 100000\r\nabc")
				c.expect("250")
			}
			_ = c.conn.Close()
		}
		eventually(t, "all sessions end", func() bool { return ts.connections() == 0 })
		ts.noTemp()
	})
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// TestUnixSocket uses LMTP on a Unix socket; the Received field then contains no address.
func TestUnixSocket(t *testing.T) {
	ts := startServer(t, LMTP)
	dir, err := os.MkdirTemp("", "lmtp") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ts.listen(l, false)
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client{t, conn, bufio.NewReader(conn)}
	c.expect("220")
	c.say("LHLO relay.example", "250")
	c.begin("alice@example.org")
	c.say("x\r\n.", "250 2.1.5 <alice@example.org>")
	c.say("QUIT", "221")
	if got := ts.mail("alice"); len(got) != 1 || !strings.Contains(got[0], "\nReceived: from relay.example (local socket)\n\tby mail.example.org (maildird) with LMTP id ") {
		t.Errorf("delivered %q", got)
	}
}

// TestFailedLoginLine: programs that block addresses read this line.
func TestFailedLoginLine(t *testing.T) {
	ts := startServer(t, Submission)
	c := ts.hello()
	c.say("AUTH PLAIN AGFsaWNlAHRvcHNlY3JldA==", "535") // alice, topsecret
	c.say("AUTH LOGIN dG9wc2VjcmV0", "334")
	c.say("*", "501")
	log := ts.log.String()
	if !strings.Contains(log, `level=WARN msg="login failed" protocol=submission session=`+ts.session(log)+` remote=127.0.0.1 method=PLAIN user=alice error="user or password is wrong"`) {
		t.Error(log)
	}
	if strings.Contains(log, "topsecret") {
		t.Error("a password in the log")
	}
}

// TestRefusedLoginLine: a flood of unchecked logins is logged in one line.
func TestRefusedLoginLine(t *testing.T) {
	ts := startServer(t, Submission, func(c *Config) { c.Logins.Passwords = &servertest.Refusing{} })
	for range 3 {
		c := ts.hello()
		c.say("AUTH PLAIN AGFsaWNlAHRvcHNlY3JldA==", "454")
		c.say("AUTH PLAIN AGFsaWNlAHRvcHNlY3JldA==", "454")
	}
	if log := ts.log.String(); strings.Count(log, `msg="login refused"`) != 1 {
		t.Error(log)
	}
}

// TestLoggedMessageID: the log names the Message-ID of a submitted message as its readers see
// it, even if the client sent none.
func TestLoggedMessageID(t *testing.T) {
	for _, field := range []string{"", "Message-ID: <own@client.example>\r\n"} {
		ts := startServer(t, Submission)
		c := ts.hello()
		c.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235") // alice, secret
		c.say("MAIL FROM:<alice@example.org>", "250")
		c.say("RCPT TO:<bob@example.org>", "250")
		c.say("DATA", "354")
		c.say("From: alice@example.org\r\n"+field+"\r\nx\r\n.", "250")
		stored := ""
		for line := range strings.SplitSeq(ts.mail("bob")[0], "\n") {
			if id, ok := strings.CutPrefix(line, "Message-ID: "); ok {
				stored = strings.TrimSpace(id)
			}
		}
		if log := ts.log.String(); stored == "" || !strings.Contains(log, "message_id="+stored+" ") {
			t.Errorf("stored as %q, and logged as\n%s", stored, log)
		}
	}
}

// session returns the ID of the last session in the log.
func (ts *testServer) session(log string) string {
	_, after, _ := strings.Cut(log[strings.LastIndex(log, "login failed"):], "session=")
	id, _, _ := strings.Cut(after, " ")
	return id
}
