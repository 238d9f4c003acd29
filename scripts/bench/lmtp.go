package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// mailClient is a bare LMTP or SMTP connection.
type mailClient struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialLMTP(s *server) (*mailClient, error) { return dialMail(s.lmtp, "LHLO") }
func dialSMTP(s *server) (*mailClient, error) { return dialMail(s.smtp, "EHLO") }

func dialMail(address, hello string) (*mailClient, error) {
	conn, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return nil, err
	}
	c := &mailClient{conn: conn, r: bufio.NewReader(conn)}
	err = c.expect("220")
	if err == nil {
		err = c.command(hello+" bench.example.net", "250")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *mailClient) close() { c.conn.Close() }

// deliver hands over one message in CRLF form without leading dots. It sends
// MAIL, RCPT and DATA at once, and the message with its end, as the clients of
// Postfix do.
func (c *mailClient) deliver(to string, message []byte) error {
	commands := "MAIL FROM:<bench@example.net>\r\nRCPT TO:<" + to + ">\r\nDATA\r\n"
	if _, err := c.conn.Write([]byte(commands)); err != nil {
		return err
	}
	for _, code := range []string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(append(message[:len(message):len(message)], ".\r\n"...)); err != nil {
		return err
	}
	return c.expect("250")
}

func (c *mailClient) command(line, code string) error {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

// expect reads one reply, which may have several lines.
func (c *mailClient) expect(code string) error {
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
