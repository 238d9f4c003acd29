package faults

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	"maildird/scripts/rig"
)

// sender submits mail by SMTP, submission or LMTP.
type sender struct {
	*rig.Sender
	from string
}

// dialSender connects; for submission it also logs in.
func dialSender(m *rig.Maildird, service, user string) (*sender, error) {
	client, err := rig.DialSender(m.Address(service), service == "lmtp", patience)
	if err != nil {
		return nil, err
	}
	if service != "submission" {
		return &sender{client, "sender@example.net"}, nil
	}
	if err := client.Command(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret"))); err != nil {
		client.Close()
		return nil, err
	}
	return &sender{client, user}, nil
}

// deliver sends a message with LF line ends. It returns the code of the reply, with the
// enhanced code if it is a refusal, and its text.
func (s *sender) deliver(text, to string) (answer, words string) {
	err := s.Deliver(s.from, "From: "+s.from+"\n"+text, to)[0]
	var refused *textproto.Error
	switch {
	case err == nil:
		return "250", "OK"
	case !errors.As(err, &refused):
		return "no answer", err.Error()
	}
	enhanced, words, _ := strings.Cut(refused.Msg, " ")
	_ = s.Command(250, "RSET")
	return fmt.Sprintf("%d %s", refused.Code, enhanced), words
}

// mailText returns a message with an identity and a number of lines, with LF line ends.
func mailText(id string, lines int) string {
	return fmt.Sprintf("Message-ID: <%s>\nSubject: mail %s\n\n", id, id) + body(id, lines)
}

func body(id string, lines int) string {
	return fmt.Sprintf("This is %s.\n", id) + strings.Repeat("A line of text like any other.\n", lines) + fmt.Sprintf("The end of it after %d lines.\n", lines)
}

// idOf returns the identity of a message if it is complete, else "".
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
