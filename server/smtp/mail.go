package smtp

import (
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// envelope is the content of MAIL.
type envelope struct {
	sender address
	null   bool  // the sender is <>
	size   int64 // size according to the client, in octets; 0 if not given
	utf8   bool  // SMTPUTF8
}

// text returns the sender for the log.
func (e *envelope) text() string {
	if e.null {
		return "<>"
	}
	return e.sender.String()
}

// runMail is MAIL (RFC 5321 section 4.1.1.2).
func runMail(c *conn, arg string) error {
	switch {
	case c.peer.hello == "":
		return refusal(503, code3{5, 5, 1}, "Send %s first", c.helloName())
	case c.session.from != nil:
		return refusal(503, code3{5, 5, 1}, "Sender is already given")
	}
	e, err := c.readMail(arg)
	if err != nil {
		var r *smtp.SMTPError
		if errors.As(err, &r) {
			sender, _ := cutPrefixFold(arg, "FROM:")
			c.log.Info("message refused", "from", shorten(bare(sender)), "reply", asLine(r))
		}
		return err
	}
	if err := c.session.mail(e); err != nil {
		return err
	}
	c.reply(250, code3{2, 1, 0}, "Sender OK")
	return nil
}

// readMail parses the argument of MAIL, if the client may send mail.
func (c *conn) readMail(arg string) (e envelope, err error) {
	if err := c.checkMaySend(); err != nil {
		return e, err
	}
	rest, ok := cutPrefixFold(arg, "FROM:")
	if !ok {
		return e, refusal(501, code3{5, 5, 4}, "Syntax: MAIL FROM:<address>")
	}
	e.sender, e.null, rest, err = parsePath(strings.TrimLeft(rest, " "), true)
	if err != nil {
		return e, refusal(501, code3{5, 1, 7}, "Sender: %v", err)
	}
	if err := c.mailParameters(&e, rest); err != nil {
		return e, err
	}
	if !e.utf8 && !c.relayed() && checkUTF8(e.sender.local+e.sender.domain, false) != nil {
		return e, refusal(553, code3{5, 6, 7}, "Sender: %v", errUTF8)
	}
	return e, nil
}

// relayed reports whether a relay has already accepted responsibility for the message. Postfix
// accepts an address in UTF-8 without SMTPUTF8 and passes it on: its client could no longer be
// told about a refusal here.
func (c *conn) relayed() bool { return c.srv.kind == LMTP }

func (c *conn) helloName() string {
	if c.srv.kind == LMTP {
		return "LHLO"
	}
	return "EHLO"
}

// mailParameters parses the parameters of MAIL.
func (c *conn) mailParameters(e *envelope, s string) error {
	seen := map[string]bool{}
	for p := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(p, "=")
		key = upper(key)
		if seen[key] {
			return refusal(501, code3{5, 5, 4}, "Parameter %s is given twice", key)
		}
		seen[key] = true
		switch {
		case key == "SIZE":
			if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
				return refusal(501, code3{5, 5, 4}, "SIZE must be a number")
			}
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n > c.srv.cfg.Limits.Message {
				return errTooBig(c.srv.cfg.Limits.Message)
			}
			e.size = n
		case key == "BODY":
			if v := upper(value); v != "7BIT" && v != "8BITMIME" {
				return refusal(501, code3{5, 5, 4}, "BODY must be 7BIT or 8BITMIME")
			}
		case key == "SMTPUTF8" && len(p) == len(key):
			e.utf8 = true
		case key == "AUTH" && c.srv.kind == Submission:
			// RFC 4954 section 5: passing it on is optional.
		default:
			return refusal(555, code3{5, 5, 4}, "Unknown parameter %s", key)
		}
	}
	return nil
}

func errTooBig(limit int64) *smtp.SMTPError {
	return refusal(552, code3{5, 3, 4}, "Message is larger than %d octets", limit)
}

// cutPrefixFold is strings.CutPrefix ignoring case. prefix must be in upper case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || upper(s[:len(prefix)]) != prefix {
		return s, false
	}
	return s[len(prefix):], true
}
