package wire

import (
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// halfClosed is how long a client counts as present after it has closed its sending side: it may
// be a script that has sent all its commands and reads the answers ("nc -N").
const halfClosed = 5 * time.Second

// PeerGone returns an error if the connection is broken, or if the client closed its sending
// side more than halfClosed ago, even while its input is still pending. It checks at most every
// 100 ms.
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
	var state int16
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			state = fds[0].Revents
		}
	})
	half := state&unix.POLLRDHUP != 0
	if half && c.halfSince.IsZero() {
		c.halfSince = now
	}
	if err != nil || state&(unix.POLLHUP|unix.POLLERR) != 0 || half && now.Sub(c.halfSince) >= halfClosed {
		c.gone = io.ErrUnexpectedEOF
	}
	return c.gone
}
