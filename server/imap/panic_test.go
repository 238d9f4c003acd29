package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"maildird/auth"
	"maildird/maildir"
)

// faultyUsers panics for one name.
type faultyUsers struct{ testUsers }

func (u faultyUsers) Authenticate(ctx context.Context, from netip.Addr, name, password string) (auth.User, error) {
	if name == "panic" {
		panic("a fault of the program")
	}
	return u.testUsers.Authenticate(ctx, from, name, password)
}

// TestPanicEndsOneSession: a panic in a command or outside of one ends only the session.
func TestPanicEndsOneSession(t *testing.T) {
	t.Parallel()
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		panic("a fault of the handshake")
	}}
	ts := startServer(t, func(c *Config, _ *maildir.AccountOptions) { c.Logins.Passwords, c.TLS = faultyUsers{}, broken })
	other, c := ts.login(), ts.dial()
	other.ok("SELECT INBOX")
	c.send("a LOGIN panic secret\r\n")
	c.ends("SERVERBUG")
	other.ok("APPEND INBOX {3+}\r\nabc")
	if n, log := ts.log.Panics(), ts.log.String(); n != 1 || !strings.Contains(log, "a fault of the program") || !strings.Contains(log, "faultyUsers.Authenticate") {
		t.Errorf("counted %d, logged:\n%s", n, log)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ts.Serve(l, true) }()
	if conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("the handshake was done")
		_ = conn.Close()
	}
	other.ok("NOOP")
	if n, log := ts.log.Panics(), ts.log.String(); n != 2 || !strings.Contains(log, "a fault of the handshake") {
		t.Errorf("counted %d, logged:\n%s", n, log)
	}
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
