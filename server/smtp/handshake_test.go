package smtp

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

// TestHandshakes: a missing or failed handshake is logged, but a client that tries many times
// causes only one line a minute.
func TestHandshakes(t *testing.T) {
	cert, _ := servertest.Certificate(t)
	ts := startServer(t, Submission, withTLS(cert), func(c *Config) { c.Timeouts.TLS = 100 * time.Millisecond })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listen(l, true)
	ended := func() { // the connection is closed before this is logged
		for ts.conns.Len() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	knock := func(text, want string) {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn)
		ended()
		if got := ts.log.Take(); strings.Contains(got, "TLS handshake failed") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("after %q the log has %q, want %q", text, got, want)
		}
	}
	knock("", "did not complete the handshake in time")
	knock("", "")
	knock("EHLO x\r\n", "")
	c := ts.hello()
	ts.log.Take() // before the time for the handshake begins
	c.say("STARTTLS", "220")
	c.send("EHLO x\r\n")
	_, _ = io.ReadAll(c.conn)
	ended()
	if got := ts.log.Take(); !strings.Contains(got, "TLS handshake failed") {
		t.Errorf("STARTTLS that failed is not in the log: %q", got)
	}
}
