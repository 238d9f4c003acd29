package smtp

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// hurried is a listener for connections whose read deadlines expire when the test says so.
type hurried struct {
	net.Listener
	conns chan *hurriedConn
}

func (l hurried) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &hurriedConn{TCPConn: conn.(*net.TCPConn)}
	l.conns <- c
	return c, nil
}

type hurriedConn struct {
	*net.TCPConn
	mu       sync.Mutex
	read     int       // bytes that the server has read
	deadline time.Time // read deadline, as set by the server
	late     bool      // whether all deadlines expire at once
}

func (c *hurriedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += n
	return n, err
}

func (c *hurriedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.late {
		t = time.Now()
	}
	return c.TCPConn.SetReadDeadline(t)
}

// has returns how much the server has read, and its read deadline.
func (c *hurriedConn) has() (octets int, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read, c.deadline
}

// hurry makes the deadlines expire.
func (c *hurriedConn) hurry() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = true
	return c.TCPConn.SetReadDeadline(time.Now())
}

// hurriedHello is hello on such a connection. It returns both ends.
func (ts *testServer) hurriedHello() (*client, *hurriedConn) {
	ts.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ts.t.Fatal(err)
	}
	h := hurried{l, make(chan *hurriedConn, 1)}
	ts.listen(h, false)
	ts.addr = l.Addr().String()
	c := ts.hello()
	return c, <-h.conns
}

// sendTo sends what the server does not answer, and waits until it has read that.
func (c *client) sendTo(server *hurriedConn, text string) {
	c.t.Helper()
	before, _ := server.has()
	c.send(text)
	eventually(c.t, "the server has all so far", func() bool {
		octets, _ := server.has()
		return octets == before+len(text)
	})
}

// TestStalledMessage: a client that stops in the middle of a message is disconnected, and
// nothing of the message is left.
func TestStalledMessage(t *testing.T) {
	t.Parallel()
	ts := startServer(t, MX, func(c *Config) { c.Timeouts.Command = time.Hour })
	c, server := ts.hurriedHello()
	c.begin("alice@example.org")
	began := time.Now()
	c.sendTo(server, strings.Repeat("line: of some message\r\n", 10_000))
	if _, until := server.has(); until.Before(began) || until.After(time.Now().Add(time.Hour)) {
		t.Errorf("it waits for the rest until %s", until)
	}
	if err := server.hurry(); err != nil { // the hour is over
		t.Fatal(err)
	}
	c.expect("421 4.4.2 Timeout waiting for the message")
	c.expectEnd()
	if got := ts.mail("alice"); len(got) != 0 {
		t.Errorf("delivered: %.100q", got)
	}
	ts.noTemp()
	ts.interrupted("size=220000 reason=\"Timeout waiting for the message\"")
}

// deadlines is a connection that records the deadline of each read.
type deadlines struct {
	net.Conn
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

func (d *deadlines) Read(p []byte) (int, error) { p[0] = 'x'; return 1, nil }

// TestSlowSender: progress counts. The time allowed for a piece of a message grows with the
// data received, but never exceeds that of a command.
func TestSlowSender(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) {
		c.Timeouts.Command = 100 * time.Second
		c.Limits.DataRate = 1000
	})
	for _, step := range []struct {
		ago  time.Duration // start of the message
		got  int64
		left time.Duration
	}{
		{0, 0, 100 * time.Second},
		{50 * time.Second, 0, 50 * time.Second},
		{50 * time.Second, 10_000, 60 * time.Second},
		{500 * time.Second, 1_000_000, 100 * time.Second},
		{2 * time.Hour, 8_000_000, 100 * time.Second},
		{500 * time.Second, 10_000, -390 * time.Second},
	} {
		d := &deadlines{}
		c := &conn{srv: ts.Server, wire: wire{conn: d}}
		now := time.Now()
		if err := c.moreOfMessage(now.Add(-step.ago), step.got); err != nil {
			t.Fatal(err)
		}
		if left := d.read.Sub(now); left < step.left || left > step.left+30*time.Second {
			t.Errorf("%d octets after %v: %v left, want %v", step.got, step.ago, left, step.left)
		}
	}
}
