package smtp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// client is a simple SMTP client. Every error ends the test.
type client struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (ts *testServer) dial() *client {
	ts.t.Helper()
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { _ = conn.Close() })
	return &client{ts.t, conn, bufio.NewReader(conn)}
}

// hello opens a connection and sends EHLO or LHLO.
func (ts *testServer) hello() *client {
	ts.t.Helper()
	c := ts.dial()
	c.expect("220")
	verb := "EHLO"
	if ts.kind == LMTP {
		verb = "LHLO"
	}
	c.say(verb+" client.example", "250")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.100q: %v", text, err)
	}
}

// expect reads a reply and returns its last line.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, prefix[:3]) {
			c.t.Fatalf("expected %s, got %q, %v", prefix, line, err)
		}
		if line[3] == ' ' {
			if !strings.HasPrefix(line, prefix) {
				c.t.Fatalf("expected %s, got %q", prefix, line)
			}
			return line
		}
	}
}

func (c *client) say(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.expect(prefix)
}

func (c *client) expectEnd() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if line, err := c.in.ReadString('\n'); line != "" || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("expected the end, got %q, %v", line, err)
	}
}

// begin sends the envelope, up to DATA.
func (c *client) begin(to ...string) {
	c.t.Helper()
	c.say("MAIL FROM:<s@client.example>", "250")
	for _, r := range to {
		c.say("RCPT TO:<"+r+">", "250")
	}
	c.say("DATA", "354")
}
