package wire

import (
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PeerGone returns an error if the client has closed its side of the connection, even while its
// input is still pending. It checks at most every 100 ms.
func (c *Conn) PeerGone(now time.Time) error {
	c.peer.Lock()
	defer c.peer.Unlock()
	if now.Sub(c.looked) < 100*time.Millisecond {
		return c.gone
	}
	c.looked = now
	sc, ok := c.Socket.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, perr := unix.Poll(fds, 0)
		gone = perr == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	if err != nil || gone {
		c.gone = io.ErrUnexpectedEOF
	}
	return c.gone
}
