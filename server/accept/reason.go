package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Reason says in plain words, for the log, why a connection ended: err is what a read, a write
// or a TLS handshake returned, and not nil.
func Reason(err error) string {
	var op *net.OpError
	isOp := errors.As(err, &op)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && isOp && op.Op == "write":
		return "the client did not take what it was sent"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout waiting for the client"
	case errors.Is(err, context.DeadlineExceeded):
		return "the client did not complete the TLS handshake in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE):
		return "connection closed" // with TLS, without a word of that
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset by the client"
	case errors.Is(err, syscall.ETIMEDOUT):
		return "the client can no longer be reached"
	}
	var errno syscall.Errno
	text := err.Error()
	switch {
	case errors.As(err, &errno):
		text = errno.Error()
	case isOp: // without the addresses
		text = op.Err.Error()
	}
	if tls, ok := strings.CutPrefix(text, "tls: "); ok {
		return "TLS error: " + tls
	}
	return text
}
