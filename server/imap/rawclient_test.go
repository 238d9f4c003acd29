package imap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// testClient is a simple IMAP client. Every error ends the test.
type testClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	tags int
}

func newTestClient(t testing.TB, conn net.Conn) *testClient {
	return &testClient{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// send sends text unchanged.
func (c *testClient) send(text string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.100q: %v", text, err)
	}
}

// line reads a line and returns it without its CRLF.
func (c *testClient) line() string {
	c.t.Helper()
	line, err := c.tryLine()
	if err != nil {
		c.t.Fatal(err)
	}
	return line
}

func (c *testClient) tryLine() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	line, err := c.in.ReadString('\n')
	if err != nil {
		return line, fmt.Errorf("got %q, then: %w", line, err)
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return line, fmt.Errorf("line without CRLF: %q", line)
	}
	return text, nil
}

// command sends a command and returns the untagged lines and the tagged one, without its tag.
func (c *testClient) command(text string) (untagged []string, status string) {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("t%d ", c.tags)
	c.send(tag + text + "\r\n")
	for {
		line := c.line()
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

// ok sends a command that must be answered with OK, and returns the untagged lines.
func (c *testClient) ok(text string) []string {
	c.t.Helper()
	lines, status := c.command(text)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%.200s: %s", text, status)
	}
	return lines
}

// fails sends a command whose answer must begin with want.
func (c *testClient) fails(text, want string) {
	c.t.Helper()
	if _, status := c.command(text); !strings.HasPrefix(status, want) {
		c.t.Errorf("%.200s: %s, want %s", text, status, want)
	}
}

// ends reads a BYE that must contain want, and the end of the stream.
func (c *testClient) ends(want string) {
	c.t.Helper()
	for {
		line, err := c.tryLine()
		if err != nil {
			c.t.Fatalf("no BYE with %q: %v", want, err)
		}
		if strings.HasPrefix(line, "* BYE") {
			if !strings.Contains(line, want) {
				c.t.Errorf("%s, want %q", line, want)
			}
			break
		}
	}
	if line, err := c.tryLine(); err == nil {
		c.t.Errorf("after BYE: %q", line)
	}
}
