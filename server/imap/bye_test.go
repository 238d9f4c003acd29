package imap

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

// TestByeArrives: a client that is still sending when the server closes the connection
// receives the BYE and the end of the stream. It must not receive a reset, which on many
// systems discards unread data.
func TestByeArrives(t *testing.T) {
	cert, roots := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert))
	for _, withTLS := range []bool{false, true} {
		c := ts.dial()
		c.line()
		if withTLS {
			c.ok("STARTTLS")
			c = newTestClient(t, tls.Client(c.conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}))
		}
		c.ok("LOGIN alice secret")
		c.send(strings.Repeat("x WRONG\r\n", 20_000))
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		got, err := io.ReadAll(c.in)
		if err != nil || !strings.Contains(string(got), "\r\n* BYE ") {
			t.Errorf("TLS %v: ... %q, %v", withTLS, got[max(0, len(got)-100):], err)
		}
	}
}
