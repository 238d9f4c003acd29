package smtp

import (
	"errors"
	"strings"

	"github.com/emersion/go-smtp"
)

// runRcpt is RCPT (RFC 5321 section 4.1.1.3).
func runRcpt(c *conn, arg string) error {
	switch {
	case c.session.from == nil:
		return refusal(503, code3{5, 5, 1}, "Send MAIL first")
	case c.chunks != nil:
		return refusal(503, code3{5, 5, 1}, "Message is already being sent")
	}
	address, _ := cutPrefixFold(arg, "TO:")
	err := c.recipient(arg)
	c.grouped = c.session.relaying == nil // the relay may take long over the next one
	if err == nil {
		c.reply(250, code3{2, 1, 5}, "Recipient OK")
		return nil
	}
	c.session.refused++
	var r *smtp.SMTPError
	switch {
	case !errors.As(err, &r):
		return err
	case r.Code >= 500:
		c.badRecipients++
		c.log.Info("recipient refused", "from", c.session.sender(), "to", shorten(bare(address)), "reply", asLine(r))
	default:
		// A client may name all recipients of a mailing list before it sends the message to those
		// who were accepted. If it were cut off before that, it would do the same again for ever.
		if c.deferred++; c.deferred > 10*c.srv.cfg.Limits.Recipients {
			c.badRecipients++
		}
	}
	c.replyTo(r)
	return c.slowDown()
}

func (c *conn) recipient(arg string) error {
	rest, ok := cutPrefixFold(arg, "TO:")
	if !ok {
		return refusal(501, code3{5, 5, 4}, "Syntax: RCPT TO:<address>")
	}
	to, null, rest, err := parsePath(strings.TrimLeft(rest, " "), c.session.from.utf8 || c.relayed())
	switch {
	case errors.Is(err, errUTF8):
		return refusal(553, code3{5, 6, 7}, "Recipient: %v", err)
	case err != nil:
		return refusal(501, code3{5, 1, 3}, "Recipient: %v", err)
	case null:
		return refusal(501, code3{5, 1, 3}, "Recipient is empty")
	}
	if parameters := strings.Fields(rest); len(parameters) > 0 { // no extension here defines one
		key, _, _ := strings.Cut(parameters[0], "=")
		return refusal(555, code3{5, 5, 4}, "Unknown parameter %s", upper(key))
	}
	return c.session.rcpt(to)
}

// shorten limits what a client can write to the log.
func shorten(s string) string { return s[:min(len(s), 320)] }

// bare removes the angle brackets from an address, which may be malformed, and what follows
// them: accepted addresses are logged in this form.
func bare(address string) string {
	address = strings.TrimSpace(address)
	if end := strings.LastIndexByte(address, '>'); end > 0 && address[0] == '<' {
		return address[1:end]
	}
	return address
}
