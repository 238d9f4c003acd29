package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// lmtpClient is a bare LMTP connection.
type lmtpClient struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialLMTP(s *server) (*lmtpClient, error) {
	conn, err := net.DialTimeout("tcp", s.lmtp, limit)
	if err != nil {
		return nil, err
	}
	c := &lmtpClient{conn: conn, r: bufio.NewReader(conn)}
	if err := c.expect("220"); err != nil {
		return nil, err
	}
	return c, c.command("LHLO bench.example.net", "250")
}

func (c *lmtpClient) close() { c.conn.Close() }

// deliver hands over one message in CRLF form without leading dots.
func (c *lmtpClient) deliver(to string, message []byte) error {
	if err := c.command("MAIL FROM:<bench@example.net>", "250"); err != nil {
		return err
	}
	if err := c.command("RCPT TO:<"+to+">", "250"); err != nil {
		return err
	}
	if err := c.command("DATA", "354"); err != nil {
		return err
	}
	if _, err := c.conn.Write(message); err != nil {
		return err
	}
	return c.command(".", "250")
}

func (c *lmtpClient) command(line, code string) error {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

// expect reads one reply, which may have several lines.
func (c *lmtpClient) expect(code string) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("answer %q", strings.TrimSpace(line))
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}
