package imap

import (
	"net"
	"strings"
	"testing"
)

// TestHalfClosed: a client that sends all its commands and then closes its sending side, as
// "nc -N" does, gets all the answers.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	ts.login().ok("APPEND INBOX {5+}\r\na: b\n")
	c := ts.dial()
	c.line()
	c.send("a LOGIN alice secret\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd SEARCH TEXT b\r\ne LOGOUT\r\n")
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		line, err := c.tryLine()
		if err != nil {
			break
		}
		got = append(got, line)
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"a OK", "b OK", "* 1 FETCH", "c OK", "* SEARCH 1", "d OK", "* BYE", "e OK"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}
