package accept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// Handshake performs a TLS handshake. If ctx ends first, the connection is closed.
func Handshake(ctx context.Context, conn *tls.Conn) error {
	err := conn.HandshakeContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		// The client sent no TLS records, or not enough of them.
		err = fmt.Errorf("the client did not complete the handshake in time; it may be waiting for a greeting, but this port begins with TLS: %w", err)
	}
	return err
}
