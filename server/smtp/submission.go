package smtp

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"
)

// headerEdit holds back the header of a submitted message until it is complete, to check and
// correct it (RFC 6409 sections 6 and 8).
type headerEdit struct {
	s    *session
	id   string
	text []byte // the header so far
	done bool   // the header was passed on
	// messageID is the Message-ID that was added, "" if the message already had one.
	messageID string
}

// editHeader takes a piece of text of a submitted message.
func (m *message) editHeader(text []byte) {
	e := m.edit
	if e.done {
		m.store(text)
		return
	}
	from := max(len(e.text)-2, 0)
	e.text = append(e.text, text...)
	end := endOfHeader(e.text, from)
	limit := m.s.srv.cfg.Limits.Header
	if end > limit || end < 0 && len(e.text) > limit {
		m.refuse(refusal(554, code3{5, 6, 0}, "Message header is longer than %d octets", limit))
		return
	}
	if end < 0 {
		return
	}
	m.passHeader(end)
}

// endHeader is called at the end of the message. A message without a body has no empty line
// to end its header.
func (m *message) endHeader() {
	if !m.edit.done {
		m.passHeader(len(m.edit.text))
	}
}

// endOfHeader returns the index of the empty line that ends a header, or -1. It looks only
// from index from on.
func endOfHeader(b []byte, from int) int {
	if len(b) > 0 && b[0] == '\n' {
		return 0
	}
	if i := bytes.Index(b[from:], []byte("\n\n")); i >= 0 {
		return from + i + 1
	}
	return -1
}

// passHeader checks the header, which ends at index end, and passes on all text so far.
func (m *message) passHeader(end int) {
	e := m.edit
	header, err := e.mend(e.text[:end])
	if err != nil {
		m.refuse(err)
		return
	}
	e.done = true
	if e.messageID != "" {
		m.head.messageID = e.messageID
	}
	if err := m.relaying.begin(header); err != nil {
		m.refuse(err)
		return
	}
	m.store(header)
	m.store(e.text[end:])
	e.text = nil
}

// mend returns the header to be stored: without Bcc and Return-Path, with Date and Message-ID.
// It refuses a header that contains CR or NUL (RFC 5322 section 2.2): some readers take a CR in
// the middle of a line for a line end, and would find another From or a Bcc after it, or take a
// NUL for the end.
func (e *headerEdit) mend(header []byte) ([]byte, *smtp.SMTPError) {
	if bytes.ContainsAny(header, "\r\x00") {
		e.s.log.Warn("message refused", "id", e.id, "reason", "CR or NUL in the header")
		return nil, refusal(554, code3{5, 6, 0}, "Message header has a CR or NUL inside a line")
	}
	out := make([]byte, 0, len(header)+128)
	var from, sender []string
	hasDate, hasID := false, false
	for len(header) > 0 {
		field := header[:fieldLength(header)]
		header = header[len(field):]
		name, value, ok := bytes.Cut(field, []byte{':'})
		if !ok {
			return nil, refusal(554, code3{5, 6, 0}, "Message header has a line that is not a field")
		}
		name = bytes.TrimRight(name, " \t")
		if !isFieldName(name) {
			return nil, refusal(554, code3{5, 6, 0}, "Message header has a line that is not a field")
		}
		switch lower(string(name)) {
		case "bcc", "resent-bcc", "return-path": // Return-Path is for the delivering server (RFC 5321 section 4.4)
			continue
		case "from":
			from = append(from, string(value))
		case "sender":
			sender = append(sender, string(value))
		case "date":
			hasDate = true
		case "message-id":
			hasID = true
		}
		out = append(out, field...)
	}
	if !e.s.isOwnBounce() {
		if err := e.checkFrom(from); err != nil {
			return nil, err
		}
		if err := e.checkSender(sender); err != nil {
			return nil, err
		}
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, '\n')
	}
	cfg := &e.s.srv.cfg
	if !hasDate {
		out = fmt.Appendf(out, "Date: %s\n", date(cfg.Now()))
	}
	if !hasID {
		e.messageID = fmt.Sprintf("<%s.%d@%s>", e.id, cfg.Now().Unix(), cfg.Hostname)
		out = fmt.Appendf(out, "Message-ID: %s\n", e.messageID)
	}
	return out, nil
}

// isFieldName reports whether name is a field name (RFC 5322 section 3.6.8). Readers that drop
// spaces and line ends could otherwise find another From field.
func isFieldName(name []byte) bool {
	return len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// fieldLength returns the length of the first field of a header, including continuation lines.
func fieldLength(header []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(header[n:], '\n')
		if i < 0 {
			return len(header)
		}
		n += i + 1
		if n == len(header) || header[n] != ' ' && header[n] != '\t' {
			return n
		}
	}
}

// isOwnBounce reports whether the message has no sender and goes to nobody but the user. Mail
// programs with a queue report so that mail could not be sent, From: MAILER-DAEMON@HOST (nullmailer
// 2.2, Postfix, Exim) or "MAILER-DAEMON <>" (dma 0.13). Whoever it is from, it deceives nobody else.
func (s *session) isOwnBounce() bool {
	return s.from.null && !s.relaying.any() &&
		!slices.ContainsFunc(s.targets, func(t target) bool { return t.user.Name != s.user.Name })
}

// checkFrom checks that all authors in the From field are addresses of the sender.
func (e *headerEdit) checkFrom(fields []string) *smtp.SMTPError {
	if len(fields) != 1 {
		return refusal(553, code3{5, 7, 1}, "Message must have exactly one From field, with an address of %s", e.s.user.Name)
	}
	return e.checkAddresses("From", fields[0])
}

// checkSender checks that the Sender field, if there is one, is an address of the user. A second
// one is refused (RFC 5322 section 3.6): thousands would keep the processor busy for a minute, if
// each were an alias that leads to many users.
func (e *headerEdit) checkSender(fields []string) *smtp.SMTPError {
	switch len(fields) {
	case 0:
		return nil
	case 1:
		return e.checkAddresses("Sender", fields[0])
	}
	return refusal(553, code3{5, 7, 1}, "Message must not have more than one Sender field")
}

// maxAuthors is the maximum number of addresses in a From or Sender field.
const maxAuthors = 100

// checkAddresses checks that all addresses in a field belong to the user.
func (e *headerEdit) checkAddresses(name, field string) *smtp.SMTPError {
	// Display names are ignored, whatever their charset.
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{
		CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
	}}
	unfolded := strings.NewReplacer("\r", "", "\n", "").Replace(field)
	list, err := parser.ParseList(strings.TrimSpace(strings.ToValidUTF8(unfolded, "?")))
	if err != nil || len(list) == 0 {
		return refusal(553, code3{5, 7, 1}, "%s field of the message cannot be parsed", name)
	}
	if len(list) > maxAuthors { // each may be an alias that leads to many users
		return refusal(553, code3{5, 7, 1}, "%s field of the message has more than %d addresses", name, maxAuthors)
	}
	for _, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		if at < 0 || !e.s.srv.recipients.own(e.s.user, address{a.Address[:at], a.Address[at+1:]}) {
			e.s.log.Warn("message refused", "id", e.id, "header_from", shorten(a.Address), "reason", name+" is not the user")
			return refusal(553, code3{5, 7, 1}, "%s address of the message does not belong to %s", name, e.s.user.Name)
		}
	}
	return nil
}
