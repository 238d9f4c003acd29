package accept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestReason(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143}
	op := func(op string, err error) error {
		return fmt.Errorf("wrapped: %w", &net.OpError{Op: op, Net: "tcp", Source: addr, Addr: addr, Err: err})
	}
	tests := []struct {
		err  error
		want string
	}{
		{io.EOF, "connection closed"},
		{io.ErrUnexpectedEOF, "connection closed"},
		{op("read", net.ErrClosed), "connection closed"},
		{op("write", os.NewSyscallError("write", syscall.EPIPE)), "connection closed"},
		{op("read", os.NewSyscallError("read", syscall.ECONNRESET)), "connection reset by the client"},
		{syscall.ECONNRESET, "connection reset by the client"},
		{op("read", os.ErrDeadlineExceeded), "timeout waiting for the client"},
		{op("raw-read", os.ErrDeadlineExceeded), "timeout waiting for the client"},
		{os.ErrDeadlineExceeded, "timeout waiting for the client"},
		{op("write", os.ErrDeadlineExceeded), "the client did not take what it was sent"},
		{op("read", os.NewSyscallError("read", syscall.ETIMEDOUT)), "the client can no longer be reached"},
		{fmt.Errorf("explained: %w", context.DeadlineExceeded), "the client did not complete the TLS handshake in time"},
		{op("read", os.NewSyscallError("read", syscall.EHOSTUNREACH)), "no route to host"},
		{op("local error", tls.AlertError(20)), "TLS error: bad record MAC"},
		{op("remote error", tls.AlertError(48)), "TLS error: unknown certificate authority"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "TLS error: first record does not look like a TLS handshake"},
		{errors.New("not a DEFLATE stream"), "not a DEFLATE stream"},
	}
	for _, tt := range tests {
		if got := Reason(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// TestReasonOfSocket: the errors of real connections are recognised.
func TestReasonOfSocket(t *testing.T) {
	soon := func() time.Time { return time.Now().Add(10 * time.Millisecond) }
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	tests := []struct {
		want string
		end  func(near, far *net.TCPConn) error
	}{
		{"connection closed", func(near, far *net.TCPConn) error { _ = far.Close(); return read(near) }},
		{"connection closed", func(near, _ *net.TCPConn) error { _ = near.Close(); return read(near) }},
		{"connection reset by the client", func(near, far *net.TCPConn) error {
			_ = far.SetLinger(0)
			_ = far.Close()
			return read(near)
		}},
		{"timeout waiting for the client", func(near, _ *net.TCPConn) error {
			_ = near.SetReadDeadline(soon())
			return read(near)
		}},
		{"timeout waiting for the client", func(near, _ *net.TCPConn) error {
			_ = near.SetReadDeadline(soon())
			return read(tls.Server(near, &tls.Config{}))
		}},
		{"the client did not take what it was sent", func(near, _ *net.TCPConn) error {
			_ = near.SetWriteDeadline(soon())
			_, err := near.Write(make([]byte, 64<<20))
			return err
		}},
		{"TLS error: first record does not look like a TLS handshake", func(near, far *net.TCPConn) error {
			_, _ = io.WriteString(far, "a LOGIN alice secret\r\n")
			return read(tls.Server(near, &tls.Config{}))
		}},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range tests {
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		near, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		if err := tt.end(near.(*net.TCPConn), far.(*net.TCPConn)); err == nil {
			t.Errorf("no error where %q was expected", tt.want)
		} else if got := Reason(err); got != tt.want {
			t.Errorf("%v: %q, want %q", err, got, tt.want)
		}
	}
}
