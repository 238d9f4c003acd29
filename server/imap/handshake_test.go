package imap

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

// TestHandshakeFailureIsLogged: if no client accepts the certificate, the operator sees
// that in the log.
func TestHandshakeFailureIsLogged(t *testing.T) {
	cert, _ := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = ts.Serve(l, true) }()
	distrust := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if err := tls.Client(conn, &tls.Config{ServerName: "127.0.0.1"}).Handshake(); err == nil {
			t.Fatal("the certificate was accepted")
		}
		_, _ = io.ReadAll(conn) // until the end of the session
		if got := ts.log.Take(); !strings.Contains(got, "TLS handshake failed") || !strings.Contains(got, "level=INFO") {
			t.Errorf("logged: %s", got)
		}
	}

	c := ts.dial()
	c.line()
	c.ok("STARTTLS")
	ts.log.Take()
	distrust(c.conn)

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	distrust(conn)
}

// TestSilentHandshake: a connection without a handshake is logged, but a client that opens many
// of them causes only one line a minute.
func TestSilentHandshake(t *testing.T) {
	cert, _ := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert), withTimeouts(Timeouts{Login: 100 * time.Millisecond}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = ts.Serve(l, true) }()
	var silent []net.Conn
	for range 5 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		silent = append(silent, conn)
	}
	for _, conn := range silent {
		_, _ = io.ReadAll(conn)
	}
	end := time.Now().Add(time.Minute)
	for ts.sessions.Len() > 0 { // the connection is closed before this is logged
		if time.Now().After(end) {
			t.Fatal("the sessions do not end")
		}
		time.Sleep(time.Millisecond)
	}
	if got := ts.log.Take(); strings.Count(got, "TLS handshake failed") != 1 || !strings.Contains(got, "did not complete the handshake in time") {
		t.Errorf("logged: %s", got)
	}
}
