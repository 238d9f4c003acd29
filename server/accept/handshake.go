package accept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// Handshake does a TLS handshake. The end of ctx ends it, and the connection.
func Handshake(ctx context.Context, conn *tls.Conn) error {
	err := conn.HandshakeContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		// The client said nothing of TLS, or not enough.
		err = fmt.Errorf("the client did not begin the handshake in time; it may be waiting for a greeting, but this port begins with TLS: %w", err)
	}
	return err
}
