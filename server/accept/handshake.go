package accept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// ErrNoHandshake is for a client that said nothing of TLS, or not enough, in time.
var ErrNoHandshake = errors.New("the client's handshake did not come in time: it may wait for a greeting, and here TLS comes first")

// Handshake does a TLS handshake. The end of ctx ends it, and the connection;
// ErrNoHandshake if that is its deadline.
func Handshake(ctx context.Context, conn *tls.Conn) error {
	err := conn.HandshakeContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", ErrNoHandshake, err)
	}
	return err
}
