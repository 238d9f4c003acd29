package rig

import (
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// Sender is a client of an SMTP or LMTP server. A reply with an unexpected code is returned as
// a *textproto.Error. Only one goroutine may use a Sender.
type Sender struct {
	conn     net.Conn
	text     *textproto.Conn
	lmtp     bool
	patience time.Duration
}

// DialSender connects and sends EHLO or LHLO. No reply may take longer than patience.
func DialSender(address string, lmtp bool, patience time.Duration) (*Sender, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	s := &Sender{conn: conn, text: textproto.NewConn(conn), lmtp: lmtp, patience: patience}
	hello := "EHLO client.test"
	if lmtp {
		hello = "LHLO client.test"
	}
	if err = s.answer(220); err == nil {
		err = s.Command(250, "%s", hello)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the connection without QUIT.
func (s *Sender) Close() { _ = s.conn.Close() }

func (s *Sender) answer(code int) error {
	if err := s.conn.SetDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	_, _, err := s.text.ReadResponse(code)
	return err
}

// Command sends a command and expects a reply with this code.
func (s *Sender) Command(code int, format string, args ...any) error {
	if err := s.conn.SetDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	return s.answer(code)
}

// Begin sends MAIL, RCPT and DATA.
func (s *Sender) Begin(from string, to ...string) error {
	if err := s.Command(250, "MAIL FROM:<%s>", from); err != nil {
		return err
	}
	for _, one := range to {
		if err := s.Command(250, "RCPT TO:<%s>", one); err != nil {
			return err
		}
	}
	return s.Command(354, "DATA")
}

// Text is like Octets, for a message with LF line endings.
func (s *Sender) Text(text string, recipients int) []error {
	return s.Octets(strings.ReplaceAll(text, "\n", "\r\n"), recipients)
}

// Octets sends a message after Begin with the given number of recipients. It adds the dots that
// DATA requires (RFC 5321 section 4.5.2), but changes nothing else. The message must end in
// CRLF. The result has an error for each reply: one, or with LMTP one for each recipient.
func (s *Sender) Octets(message string, recipients int) []error {
	answers := make([]error, 1)
	if s.lmtp {
		answers = make([]error, recipients)
	}
	message = strings.ReplaceAll("\r\n"+message, "\r\n.", "\r\n..")[len("\r\n"):]
	_, err := io.WriteString(s.conn, message+".\r\n")
	for i := range answers {
		if err != nil {
			answers[i] = err
			continue
		}
		answers[i] = s.answer(250)
	}
	return answers
}

// Deliver sends a message with LF line endings: Begin and Text.
func (s *Sender) Deliver(from, text string, to ...string) []error {
	if err := s.Begin(from, to...); err != nil {
		return []error{err}
	}
	return s.Text(text, len(to))
}
