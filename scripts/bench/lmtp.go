package main

import (
	"bufio"
	"bytes"
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

// letter is a message as it is sent to one recipient: made ready before the time
// is taken, for the client's share of the processor is lost for the server.
type letter struct{ commands, text []byte }

// newLetter takes a message in CRLF form without leading dots.
func newLetter(to string, message []byte) letter {
	return letter{
		commands: []byte("MAIL FROM:<bench@example.net>\r\nRCPT TO:<" + to + ">\r\nDATA\r\n"),
		text:     append(message, ".\r\n"...),
	}
}

// deliver hands over one message. It sends MAIL, RCPT and DATA at once, and the
// message with its end, as the clients of Postfix do.
func (c *mailClient) deliver(l letter) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := c.conn.Write(l.commands); err != nil {
		return err
	}
	for _, code := range [...]string{"250", "250", "354"} {
		if err := c.reply(code); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(l.text); err != nil {
		return err
	}
	return c.reply("250")
}

func (c *mailClient) command(line, code string) error {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

// expect waits for a reply.
func (c *mailClient) expect(code string) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	return c.reply(code)
}

// reply reads one reply, which may have several lines.
func (c *mailClient) reply(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(line), code) {
			return fmt.Errorf("answer %q", bytes.TrimSpace(line))
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}
