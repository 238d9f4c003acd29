package accept

import (
	"io"
	"net"
	"time"
)

const (
	// patience is how long Linger waits for the client.
	patience = 500 * time.Millisecond
	// most is how much it reads.
	most = 256 << 10
)

// halfCloser is a connection that can end what it sends and go on reading.
type halfCloser interface{ CloseWrite() error }

// Linger ends the sending half of a connection and reads what its client has
// under way, for a moment: to close at once would reset the connection, and what
// was said last might be lost (RFC 1122 section 4.2.2.13). stream is what is
// spoken on socket: TLS, compression, or the socket itself. Close it then.
func Linger(stream, socket net.Conn) {
	half, ok := socket.(halfCloser)
	if !ok {
		return
	}
	if s, ok := stream.(halfCloser); ok && stream != socket {
		_ = s.CloseWrite()
	}
	if half.CloseWrite() != nil || socket.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, socket, most)
}
