package servertest

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Failure is a kind of network failure.
type Failure uint8

// The kinds of network failures. Each begins with a call of Read or Write, and lasts.
const (
	Reset Failure = iota // half of a write arrives, then the connection is reset
	Ended                // the client has closed its side, but still reads
	Stuck                // half of a write arrives; after that, no data is transferred
)

func (f Failure) String() string { return [...]string{"reset", "ended", "stuck"}[f] }

// Failures lists all of them.
var Failures = []Failure{Reset, Ended, Stuck}

// Network is a listener whose connections fail at a given call, as seen by the server.
//
// While a connection is stuck, a deadline of the server expires at once. Err reports a
// call without a deadline.
type Network struct {
	net.Listener
	// Piece is the maximum number of octets that a Read returns; 0 means 100.
	Piece int
	// Patient means that the server is not what is being tested: a stuck call waits until the
	// other side closes the connection.
	Patient bool

	mu    sync.Mutex
	at    int
	how   Failure
	calls int
	err   error
}

// Fail resets the count of calls, and makes connections accepted from now on fail at a call,
// counted from 0; a negative number means never.
func (n *Network) Fail(at int, how Failure) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at, n.how, n.calls = at, how, 0
}

// Calls returns the number of calls since Fail.
func (n *Network) Calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// Err returns an error if a server waited without a deadline on a stuck connection.
func (n *Network) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return &networkConn{Conn: conn, n: n, at: n.at, how: n.how, closed: make(chan struct{})}, nil
}

// networkConn is a connection of a Network.
type networkConn struct {
	net.Conn
	n    *Network
	at   int
	how  Failure
	once sync.Once

	mu          sync.Mutex
	read, write time.Time // deadlines
	closed      chan struct{}
}

// fails counts a call, and reports whether it fails.
func (c *networkConn) fails() bool {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.calls++
	return c.at >= 0 && c.n.calls > c.at
}

func (c *networkConn) Read(p []byte) (int, error) {
	if !c.fails() {
		return c.Conn.Read(p[:min(len(p), cmp.Or(c.n.Piece, 100))])
	}
	switch c.how {
	case Ended:
		return 0, io.EOF
	case Stuck:
		return 0, c.stuck(&c.read)
	}
	_ = c.Close()
	return 0, syscall.ECONNRESET
}

func (c *networkConn) Write(p []byte) (int, error) {
	if !c.fails() || c.how == Ended {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:len(p)/2])
	if c.how == Stuck {
		return n, c.stuck(&c.write)
	}
	_ = c.Close()
	return n, syscall.EPIPE
}

// patience is how long a call may wait on a stuck connection without a deadline before it
// counts as a fault. The timeout of a TLS handshake may close the connection before that.
const patience = 20 * time.Second

// stuck waits as a call on a stuck connection would, and returns its error.
func (c *networkConn) stuck(deadline *time.Time) error {
	c.mu.Lock()
	until := *deadline
	c.mu.Unlock()
	if !until.IsZero() {
		return os.ErrDeadlineExceeded
	}
	if c.n.Patient {
		_, err := io.Copy(io.Discard, c.Conn)
		return errors.Join(net.ErrClosed, err)
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	case <-time.After(patience):
	}
	_ = c.Close()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.err = errors.New("a read or write of a connection that is stuck has no deadline")
	return c.n.err
}

// Deadlines are also set on the socket, since others wait on that.

func (c *networkConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *networkConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

func (c *networkConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite closes the sending side of the socket.
func (c *networkConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *networkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
