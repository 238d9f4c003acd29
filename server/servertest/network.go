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

// Failure is how a network fails.
type Failure uint8

// The failures of a network. Each lasts from one call of Read or Write on.
const (
	Reset Failure = iota // half of what is written arrives, and the connection is reset
	Ended                // the client has closed its side, and still takes what is written
	Stuck                // half of what is written arrives, and nothing more comes or goes
)

func (f Failure) String() string { return [...]string{"reset", "ended", "stuck"}[f] }

// Failures are all of them.
var Failures = []Failure{Reset, Ended, Stuck}

// Network is a listener on whose connections the network fails at one call, as the
// server sees it.
//
// While it is stuck a deadline of the server comes at once. That there is none is
// what Err tells of.
type Network struct {
	net.Listener
	// Piece is how many octets come at most by one Read; 0: 100.
	Piece int
	// Patient says that the server is not what is tested: stuck, it waits until the
	// other side closes the connection.
	Patient bool

	mu    sync.Mutex
	at    int
	how   Failure
	calls int
	err   error
}

// Fail counts calls from here and from 0, and has the network fail at one of them;
// less than 0: at none.
func (n *Network) Fail(at int, how Failure) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at, n.how, n.calls = at, how, 0
}

// Calls is how many calls there were since Fail.
func (n *Network) Calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// Err tells that a server waited without a deadline for a connection that is stuck.
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

// fails counts a call.
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

// patience is how long somebody may wait for a connection without a deadline before
// that is a fault; the end of a handshake's time closes it.
const patience = 20 * time.Second

// stuck is the end of waiting.
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

// What sets a deadline has to do so for the socket too: others wait on that.

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

// CloseWrite is that of the socket.
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
