package imap

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// wire is the connection below lexer and writer. It is used by the session's
// goroutine, but for wake and close.
type wire struct {
	socket net.Conn // as accepted
	conn   net.Conn // what is read and written: the socket, or TLS on it

	read, write time.Duration // Timeouts.Read and Write
	until       time.Time     // when reading ends in any case; zero: never

	one    [1]byte
	looked time.Time // when peerGone did
	gone   error     // what it found; nil: the client is there

	mu     sync.Mutex
	news   reasons // that the session was not woken for yet
	wakeOn reasons // while the session waits: what ends that
}

// reasons say why a session that waits for its client is woken.
type reasons uint8

const (
	newsMailbox  reasons = 1 << iota // the selected mailbox changed
	newsOthers                       // something that NOTIFY asked for happened elsewhere
	newsShutdown                     // the server ends
)

var (
	errWoken = errors.New("woken")
	longAgo  = time.Unix(1, 0)
)

// wake ends the session's waiting for input if it waits for that reason also;
// otherwise it is told the next time it does. It never blocks.
func (c *wire) wake(why reasons) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news |= why
	if c.wakeOn&why != 0 {
		_ = c.conn.SetReadDeadline(longAgo)
	}
}

// forget drops news that need not be told any more.
func (c *wire) forget(why reasons) {
	c.mu.Lock()
	c.news &^= why
	c.mu.Unlock()
}

// Read reads inside a command. A stranger who began one does not hold the end of
// the server; a user's command may come to its end, as a message that he saves.
func (c *wire) Read(p []byte) (int, error) {
	deadline := time.Now().Add(c.read)
	if c.until.IsZero() {
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
		return c.conn.Read(p)
	}
	if deadline.After(c.until) {
		deadline = c.until
	}
	c.mu.Lock()
	if c.news&newsShutdown != 0 {
		deadline = longAgo
	}
	// Under the mutex, so that it cannot undo what wake does.
	err := c.conn.SetReadDeadline(deadline)
	c.wakeOn = newsShutdown
	c.mu.Unlock()
	n := 0
	if err == nil {
		n, err = c.conn.Read(p)
	}
	c.mu.Lock()
	c.wakeOn = 0
	c.mu.Unlock()
	return n, err
}

// maxWrite is what a client must take within the time-out.
const maxWrite = 64 << 10

// Write writes all of p as long as the client takes some of it in time.
func (c *wire) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			return n, err
		}
		var m int
		m, err = c.conn.Write(p[:min(len(p), maxWrite)])
		n += m
		p = p[m:]
	}
	return n, err
}

// await reads the first octets of a command. lend is asked for a buffer when
// there is something to read, and giveBack is called if there is not. The
// error is errWoken for one of the reasons, os.ErrDeadlineExceeded at the
// deadline, or another one of the connection.
func (c *wire) await(deadline time.Time, wakeOn reasons, lend func() []byte, giveBack func()) (int, error) {
	c.mu.Lock()
	if c.news&wakeOn != 0 {
		c.news &^= wakeOn
		c.mu.Unlock()
		return 0, errWoken
	}
	// Under the mutex, so that it cannot undo what wake does.
	err := c.conn.SetReadDeadline(deadline)
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
		return 0, errWoken
	}
	return n, err
}

// readFirst reads without a buffer in hand while there is nothing to read.
func (c *wire) readFirst(lend func() []byte, giveBack func()) (int, error) {
	sc, ok := c.conn.(syscall.Conn)
	if !ok {
		// TLS: it has a buffer of its own and gives the other octets of the
		// record without another system call.
		n, err := c.conn.Read(c.one[:])
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

// stack goes on with TLS or compression on top of what was spoken so far.
func (c *wire) stack(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
}

// close ends the connection.
func (c *wire) close() { _ = c.conn.Close() }

// cut ends the connection from another goroutine than the session's, whose
// read or write returns.
func (c *wire) cut() { _ = c.socket.Close() }
