// Package wire is the connection below lexer and writer of an IMAP session: when
// reading and writing time out, how a session that waits for its client is woken,
// how TLS and compression are put on it, and whether the client is there at all.
package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection, used by the goroutine of its session, but for Wake, Close,
// Cut and PeerGone, which may be called by any. With Socket, Stream and the timeouts set it
// is ready for use.
type Conn struct {
	Socket net.Conn // as accepted
	Stream net.Conn // what is read and written: the socket, or what is stacked on it

	ReadTimeout  time.Duration // inside a command, without any octet coming
	WriteTimeout time.Duration // without the client taking any octet
	Until        time.Time     // when reading ends in any case; zero: never

	one    [1]byte
	peer   sync.Mutex
	looked time.Time // when PeerGone did
	gone   error     // what it found; nil: the client is there

	mu     sync.Mutex
	news   Reasons // that the session was not woken for yet
	wakeOn Reasons // while the session waits: what ends that
}

// Reasons say why a session that waits for its client is woken.
type Reasons uint8

const (
	NewsMailbox  Reasons = 1 << iota // the selected mailbox changed
	NewsOthers                       // something that NOTIFY asked for happened elsewhere
	NewsShutdown                     // the server ends
	NewsRevoked                      // the login does not hold any more
)

// ErrWoken is what Await returns when the session was woken.
var ErrWoken = errors.New("woken")

var longAgo = time.Unix(1, 0)

// Wake ends the session's waiting for input if it waits for that reason also;
// otherwise it is told the next time it does. It never blocks.
func (c *Conn) Wake(why Reasons) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news |= why
	if c.wakeOn&why != 0 {
		_ = c.Stream.SetReadDeadline(longAgo)
	}
}

// Forget drops news that need not be told any more.
func (c *Conn) Forget(why Reasons) {
	c.mu.Lock()
	c.news &^= why
	c.mu.Unlock()
}

// Read reads inside a command, with ReadTimeout. Before login (Until is set) the end of
// the server ends it at once. After login a command that has begun, such as an APPEND, may
// still come to its end, unless the login is revoked.
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
	// Under the mutex, so that it cannot undo what Wake does.
	err := c.Stream.SetReadDeadline(deadline)
	c.wakeOn = wakeOn
	c.mu.Unlock()
	n := 0
	if err == nil {
		n, err = c.Stream.Read(p)
	}
	c.mu.Lock()
	c.wakeOn = 0
	c.mu.Unlock()
	return n, err
}

// maxWrite is what a client must take within the time-out.
const maxWrite = 64 << 10

// Write writes all of p as long as the client takes some of it in time.
func (c *Conn) Write(p []byte) (n int, err error) {
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

// Await reads the first octets of a command. lend is asked for a buffer when
// there is something to read, and giveBack is called if there is not. The
// error is ErrWoken for one of the reasons, os.ErrDeadlineExceeded at the
// deadline, or another one of the connection.
func (c *Conn) Await(deadline time.Time, wakeOn Reasons, lend func() []byte, giveBack func()) (int, error) {
	c.mu.Lock()
	if c.news&wakeOn != 0 {
		c.news &^= wakeOn
		c.mu.Unlock()
		return 0, ErrWoken
	}
	// Under the mutex, so that it cannot undo what Wake does.
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

// readFirst reads without a buffer in hand while there is nothing to read.
func (c *Conn) readFirst(lend func() []byte, giveBack func()) (int, error) {
	sc, ok := c.Stream.(syscall.Conn)
	if !ok {
		// TLS: it has a buffer of its own and gives the other octets of the
		// record without another system call.
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
		for {
			n, err = syscall.Read(int(fd), lend())
			if err != syscall.EINTR {
				break
			}
		}
		if err == syscall.EAGAIN {
			giveBack()
			return false
		}
		return true
	})
	if rerr != nil {
		return 0, rerr
	}
	return max(n, 0), err
}

// Stack goes on with TLS or compression on top of what was spoken so far.
func (c *Conn) Stack(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Stream = conn
}

// Close ends the connection, and what is stacked on it.
func (c *Conn) Close() { _ = c.Stream.Close() }

// Cut ends the connection from another goroutine than the session's, whose
// read or write returns.
func (c *Conn) Cut() { _ = c.Socket.Close() }
