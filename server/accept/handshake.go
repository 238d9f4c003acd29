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
		err = fmt.Errorf("the client's handshake did not come in time: it may wait for a greeting, and here TLS comes first: %w", err)
	}
	return err
}
