package faults

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// sender speaks SMTP, submission or LMTP.
type sender struct {
	conn    net.Conn
	text    *textproto.Conn
	service string
	from    string
}

// dialSender connects; for submission it logs in.
func dialSender(address, service, user string) (*sender, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, text: textproto.NewConn(conn), service: service, from: "sender@example.net"}
	hello := "EHLO client.test"
	if service == "lmtp" {
		hello = "LHLO client.test"
	}
	_, err = s.answer(220)
	if err == nil {
		err = s.command(250, "%s", hello)
	}
	if service == "submission" && err == nil {
		s.from = user
		err = s.command(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret")))
	}
	if err != nil {
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
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	_, err := s.answer(code)
	return err
}

// deliver sends a message, in LF form, and gives the reply's code, with the
// enhanced one if it is a refusal, and its text.
func (s *sender) deliver(text, to string) (answer, words string) {
	text = "From: " + s.from + "\n" + text
	err := s.command(250, "MAIL FROM:<%s>", s.from)
	if err == nil {
		err = s.command(250, "RCPT TO:<%s>", to)
	}
	if err == nil {
		err = s.command(354, "DATA")
	}
	if err == nil {
		_, err = io.WriteString(s.conn, strings.ReplaceAll(text, "\n", "\r\n")+".\r\n")
	}
	if err == nil {
		_, err = s.answer(250)
	}
	var refused *textproto.Error
	switch {
	case err == nil:
		return "250", "OK"
	case !errors.As(err, &refused):
		return "no answer", err.Error()
	}
	enhanced, words, _ := strings.Cut(refused.Msg, " ")
	_ = s.command(250, "RSET")
	return fmt.Sprintf("%d %s", refused.Code, enhanced), words
}

// mailText invents a message with an identity and so many lines, in LF form.
func mailText(id string, lines int) string {
	return fmt.Sprintf("Message-ID: <%s>\nSubject: mail %s\n\n", id, id) + body(id, lines)
}

func body(id string, lines int) string {
	return fmt.Sprintf("This is %s.\n", id) + strings.Repeat("A line of text like any other.\n", lines) + fmt.Sprintf("The end of it after %d lines.\n", lines)
}

// idOf finds the identity of a message that is whole; "" if it is not.
func idOf(text string) string {
	header, rest, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	for line := range strings.Lines(header) {
		if tail, ok := strings.CutPrefix(line, "Message-ID: <"); ok {
			id, _, _ := strings.Cut(tail, ">")
			if rest == body(id, strings.Count(rest, "\n")-2) {
				return id
			}
		}
	}
	return ""
}
