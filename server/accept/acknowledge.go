package accept

import (
	"net"

	"golang.org/x/sys/unix"
)

// Acknowledge has the kernel acknowledge at once what has come on a TCP connection, instead of
// waiting at least 40 ms for a reply that could carry the acknowledgement (RFC 9293 section
// 3.8.6.3). It is for a server that waits for the rest of a command: a client that sends a command
// in two writes, and whose TCP gathers small ones (Nagle's algorithm), sends the second part when
// the first one has been acknowledged. With any other connection it does nothing.
func Acknowledge(socket net.Conn) {
	tcp, ok := socket.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// An error ends the connection no sooner than the next read does.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}
