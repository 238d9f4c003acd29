package torture

import (
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// patience bounds one answer of the program.
const patience = 60 * time.Second

// sender speaks SMTP or LMTP.
type sender struct {
	conn net.Conn
	text *textproto.Conn
	lmtp bool
}

func dialSender(address string, lmtp bool) (*sender, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, text: textproto.NewConn(conn), lmtp: lmtp}
	if _, err := s.answer(220); err != nil {
		conn.Close()
		return nil, err
	}
	hello := "EHLO client.test"
	if lmtp {
		hello = "LHLO client.test"
	}
	if err := s.command(250, "%s", hello); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *sender) close() { _ = s.conn.Close() }

// answer takes a reply. One with another code is a *textproto.Error.
func (s *sender) answer(code int) (string, error) {
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, text, err := s.text.ReadResponse(code)
	return text, err
}

func (s *sender) command(code int, format string, args ...any) error {
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	_, err := s.answer(code)
	return err
}

// begin sends what comes before the text of a message.
func (s *sender) begin(to ...string) error {
	if err := s.command(250, "MAIL FROM:<sender@example.net>"); err != nil {
		return err
	}
	for _, one := range to {
		if err := s.command(250, "RCPT TO:<%s>", one); err != nil {
			return err
		}
	}
	return s.command(354, "DATA")
}

// deliver sends a message, in LF form, to all or, with LMTP, to each; an error
// for each reply.
func (s *sender) deliver(text string, to ...string) []error {
	replies := make([]error, 1)
	if s.lmtp {
		replies = make([]error, len(to))
	}
	err := s.begin(to...)
	if err == nil {
		_, err = io.WriteString(s.conn, strings.ReplaceAll(text, "\n", "\r\n")+".\r\n")
	}
	for i := range replies {
		if err == nil {
			_, replies[i] = s.answer(250)
		} else {
			replies[i] = err
		}
	}
	return replies
}

// mailText invents a message with an identity, in LF form.
func mailText(id string, size int) string {
	text := fmt.Sprintf("Message-ID: <%s>\nFrom: sender@example.net\nSubject: mail %s\n\nThis is %s.\n", id, id, id)
	line := strings.Repeat("0123456789abcdef ", 4) + "\n"
	for n := 0; len(text) < size; n++ {
		text += fmt.Sprintf("%06d %s", n, line)
	}
	return text + "The end of " + id + ".\n"
}

// idOf finds the identity of a message.
func idOf(text string) string {
	for line := range strings.Lines(text) {
		if line == "\n" || line == "\r\n" {
			break
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Message-ID") {
			return strings.Trim(strings.TrimSpace(value), "<>")
		}
	}
	return ""
}
