package rig

import (
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// Sender speaks SMTP or LMTP to a server. An answer with another code than it
// should have is a *textproto.Error. For one goroutine.
type Sender struct {
	conn     net.Conn
	text     *textproto.Conn
	lmtp     bool
	patience time.Duration
}

// DialSender connects and says hello. No answer may take longer than patience.
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

// Close ends the connection without a word.
func (s *Sender) Close() { _ = s.conn.Close() }

func (s *Sender) answer(code int) error {
	if err := s.conn.SetDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	_, _, err := s.text.ReadResponse(code)
	return err
}

// Command sends a command, whose answer has to have this code.
func (s *Sender) Command(code int, format string, args ...any) error {
	if err := s.conn.SetDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	return s.answer(code)
}

// Begin sends what comes before the text of a message.
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

// Text is Octets with a text in LF form.
func (s *Sender) Text(text string, recipients int) []error {
	return s.Octets(strings.ReplaceAll(text, "\n", "\r\n"), recipients)
}

// Octets sends a message that was begun for so many recipients as it stands but
// for the dots that DATA asks for (RFC 5321 section 4.5.2). It has to end in
// CRLF. There is an error for each answer: one, or with LMTP one for each
// recipient.
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

// Deliver sends a message, in LF form: Begin and Text.
func (s *Sender) Deliver(from, text string, to ...string) []error {
	if err := s.Begin(from, to...); err != nil {
		return []error{err}
	}
	return s.Text(text, len(to))
}
