package accept

import (
	"io"
	"net"
	"time"
)

const (
	// patience is how long Linger waits for the client.
	patience = 500 * time.Millisecond
	// most is how many octets it reads.
	most = 256 << 10
)

// halfCloser is a connection whose sending side can be closed separately.
type halfCloser interface{ CloseWrite() error }

// Linger closes the sending side of a connection and reads, for a moment, what the client has
// already sent. If the connection were closed at once, it would be reset, and the last output
// might be lost (RFC 1122 section 4.2.2.13). stream is the layer on top of socket, TLS or
// compression, or socket itself. The caller must close the connection afterwards.
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
