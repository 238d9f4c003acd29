// Package wire is the connection below the lexer and writer of an IMAP session. It handles
// timeouts, wakes sessions that are waiting for their client, puts TLS and compression on top
// of the connection, and detects whether the client is gone.
package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"maildird/server/accept"
)

// Conn is a connection. Only the goroutine of its session may use it, except for Wake, Cut
// and PeerGone, which any goroutine may call. A Conn with Socket, Stream and the timeouts set
// is ready to use.
type Conn struct {
	Socket net.Conn // the accepted connection
	Stream net.Conn // what is read and written: Socket, or what is stacked on it

	ReadTimeout  time.Duration // inside a command, without any input
	WriteTimeout time.Duration // without the client accepting any output
	Until        time.Time     // when reading ends in any case; zero for never

	silent bool // all that came was read, and nothing was written since
	one    [1]byte
	peer   sync.Mutex
	looked time.Time // last check by PeerGone
	gone   error     // its result; nil if the client is there
	// halfSince is when PeerGone first saw that the client had closed its sending side.
	halfSince time.Time

	mu     sync.Mutex
	news   Reasons // for which the session was not woken yet
	wakeOn Reasons // what wakes the session while it waits; else 0
}

// Reasons are reasons to wake a session that waits for its client.
type Reasons uint8

const (
	NewsMailbox  Reasons = 1 << iota // the selected mailbox changed
	NewsOthers                       // an event elsewhere that NOTIFY asked for
	NewsShutdown                     // the server is stopping
	NewsRevoked                      // the login is no longer valid
)

// ErrWoken is returned by Await when the session was woken.
var ErrWoken = errors.New("woken")

var longAgo = time.Unix(1, 0)

// Wake wakes the session if it is waiting and why is among the reasons that it waits for.
// Otherwise, the next wait for this reason returns at once. Wake never blocks.
func (c *Conn) Wake(why Reasons) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news |= why
	if c.wakeOn&why != 0 {
		_ = c.Stream.SetReadDeadline(longAgo)
	}
}

// Forget drops pending reasons that are no longer relevant.
func (c *Conn) Forget(why Reasons) {
	c.mu.Lock()
	c.news &^= why
	c.mu.Unlock()
}

// Read reads inside a command, with ReadTimeout. Before login (Until is set), a shutdown of the
// server ends it at once. After login, a command that has begun, such as APPEND, may complete,
// unless the login is revoked.
func (c *Conn) Read(p []byte) (int, error) {
	deadline, wakeOn := time.Now().Add(c.ReadTimeout), NewsRevoked
	if !c.Until.IsZero() {
		wakeOn |= NewsShutdown
		if deadline.After(c.Until) {
			deadline = c.Until
		}
	}
	c.mu.Lock()
	if c.news&wakeOn != 0 {
		deadline = longAgo
	}
	// Under the mutex, so that it cannot override the deadline that Wake sets.
	err := c.Stream.SetReadDeadline(deadline)
	c.wakeOn = wakeOn
	c.mu.Unlock()
	n := 0
	if err == nil {
		if c.silent {
			accept.Acknowledge(c.Socket)
		}
		n, err = c.Stream.Read(p)
		c.silent = n < len(p)
	}
	c.mu.Lock()
	c.wakeOn = 0
	c.mu.Unlock()
	return n, err
}

// maxWrite is the number of octets of which the client must accept some within WriteTimeout.
const maxWrite = 64 << 10

// Write writes all of p, as long as the client keeps accepting some of it in time.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.silent = false
	for len(p) > 0 && err == nil {
		if err := c.Stream.SetWriteDeadline(time.Now().Add(c.WriteTimeout)); err != nil {
			return n, err
		}
		var m int
		m, err = c.Stream.Write(p[:min(len(p), maxWrite)])
		n += m
		p = p[m:]
	}
	return n, err
}

// Await reads the first octets of a command. It calls lend for a buffer when there may be
// something to read, and giveBack if there was nothing. It returns ErrWoken if it was woken for
// one of the reasons, os.ErrDeadlineExceeded at the deadline, or an error of the connection.
func (c *Conn) Await(deadline time.Time, wakeOn Reasons, lend func() []byte, giveBack func()) (int, error) {
	c.mu.Lock()
	if c.news&wakeOn != 0 {
		c.news &^= wakeOn
		c.mu.Unlock()
		return 0, ErrWoken
	}
	// Under the mutex, so that it cannot override the deadline that Wake sets.
	err := c.Stream.SetReadDeadline(deadline)
	c.wakeOn = wakeOn
	c.mu.Unlock()

	n := 0
	if err == nil {
		n, err = c.readFirst(lend, giveBack)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeOn = 0
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.news&wakeOn != 0 {
		c.news &^= wakeOn
		return 0, ErrWoken
	}
	return n, err
}

// readFirst reads the first octets without holding a buffer while it waits.
func (c *Conn) readFirst(lend func() []byte, giveBack func()) (int, error) {
	sc, ok := c.Stream.(syscall.Conn)
	if !ok {
		// TLS has a buffer of its own, and returns the other octets of the record
		// without another system call.
		n, err := c.Stream.Read(c.one[:])
		if n > 0 {
			copy(lend(), c.one[:n])
		}
		return n, err
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	rerr := raw.Read(func(fd uintptr) bool {
		buf := lend()
		for {
			n, err = syscall.Read(int(fd), buf)
			if err != syscall.EINTR {
				break
			}
		}
		if err == syscall.EAGAIN {
			giveBack()
			return false
		}
		c.silent = n < len(buf)
		return true
	})
	if rerr != nil {
		return 0, rerr
	}
	return max(n, 0), err
}

// Stack puts TLS or compression on top of the connection.
func (c *Conn) Stack(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Stream = conn
}

// Close closes the connection, including what is stacked on it.
func (c *Conn) Close() { _ = c.Stream.Close() }

// Cut closes the connection from another goroutine; a pending read or write of the
// session returns an error.
func (c *Conn) Cut() { _ = c.Socket.Close() }
