package smtp

import (
	"errors"
	"os"
	"time"

	"github.com/emersion/go-smtp"
)

// runData is DATA (RFC 5321 section 4.1.1.4).
func runData(c *conn, arg string) error {
	if err := noArgument(arg); err != nil {
		return err
	}
	if err := c.readyForMessage(); err != nil {
		return err
	}
	if c.chunks != nil {
		return refusal(503, code3{5, 5, 1}, "Message is already being sent in BDAT chunks")
	}
	if len(c.wire.unread()) > 0 {
		// Whether this is the message or an injected command cannot be known.
		return c.outOfStep()
	}
	c.message = c.session.begin()
	c.reply(354, smtp.NoEnhancedCode, "End the message with <CR><LF>.<CR><LF>")
	if err := c.receive(&decoder{dots: true}, -1); err != nil {
		return err
	}
	return c.answerMessage()
}

// readyForMessage returns an error if no message can follow now.
func (c *conn) readyForMessage() error {
	switch {
	case c.session.from == nil:
		return refusal(503, code3{5, 5, 1}, "Send MAIL first")
	case len(c.session.to) > 0:
		return c.session.relaying.ready()
	case c.session.refused > 0 && c.srv.kind != LMTP:
		return errNobody
	}
	return refusal(503, code3{5, 5, 1}, "Send RCPT first")
}

// errNobody is the reply to DATA from a client that does not know yet that all recipients were
// refused, for good or for now: with PIPELINING it sends DATA together with the last one (RFC 2920
// section 3.1). It does not count as a bad command, since it is not the client's mistake.
var errNobody = refusal(554, code3{5, 5, 1}, "No valid recipients")

// receive reads a message, to its end or count octets of it, and passes on its text. An error
// is either one of the connection, or its last reply.
func (c *conn) receive(d *decoder, count int64) error {
	defer c.wire.shrink()
	began, got := time.Now(), int64(0)
	for d.state != textComplete && count != 0 {
		if len(c.wire.unread()) == 0 {
			if err := c.moreOfMessage(began, got); err != nil {
				return err
			}
		}
		in := c.wire.unread()
		if count >= 0 && int64(len(in)) > count {
			in = in[:count]
		}
		taken, err := c.decode(d, in)
		if err != nil {
			return err
		}
		c.wire.use(taken)
		got += int64(taken)
		if count > 0 {
			count -= int64(taken)
		}
	}
	return nil
}

// decode processes as many octets of a message as it can.
func (c *conn) decode(d *decoder, in []byte) (taken int, err error) {
	buf := largeBuffers.Get().(*[]byte) // not held while waiting for the client
	defer largeBuffers.Put(buf)
	for taken < len(in) && d.state != textComplete {
		put, n := d.decode(*buf, in[taken:])
		taken += n
		if err := c.passOn(d, (*buf)[:put]); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// moreOfMessage waits for more of a message. A sender may take any time if it keeps up the data
// rate, but may not stall.
func (c *conn) moreOfMessage(began time.Time, got int64) error {
	patience := c.srv.cfg.Timeouts.Command
	deadline := time.Now().Add(patience)
	byRate := began.Add(patience + time.Duration(got/c.srv.cfg.Limits.DataRate)*time.Second)
	if byRate.Before(deadline) {
		deadline = byRate
	}
	c.mu.Lock()
	err := c.wire.conn.SetReadDeadline(deadline)
	c.receiving = true
	c.mu.Unlock()
	if err == nil && !c.granted.Revoked() {
		err = c.wire.more(largeBuffer)
	}
	c.mu.Lock()
	c.receiving = false
	c.mu.Unlock()
	switch {
	case c.granted.Revoked():
		return errRevoked()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return lastReply(421, code3{4, 4, 2}, "Timeout waiting for the message")
	}
	return err
}

// passOn writes text to the message, or refuses the message if it exceeds the limits.
func (c *conn) passOn(d *decoder, text []byte) error {
	l := &c.srv.cfg.Limits
	m := c.message
	switch {
	case d.octets > 2*l.Message+largeBuffer && c.srv.kind != LMTP: // a relay would keep the message and try again
		return goodbye{errTooBig(l.Message)}
	case c.srv.cfg.BareNewline == Reject && (d.bareLF || d.bareCR):
		m.refuse(errBare())
	case d.octets > l.Message:
		m.refuse(errTooBig(l.Message))
	case d.widest > l.Line:
		m.refuse(refusal(554, code3{5, 6, 0}, "A line of the message is longer than %d octets", l.Line))
	}
	m.write(text)
	return nil
}

// answerMessage completes the message and sends the replies.
func (c *conn) answerMessage() error {
	m, done := c.message, "Stored"
	if m.relaying != nil {
		done = "Relayed"
	}
	results := m.finish()
	c.message = nil
	c.reset()
	if c.srv.kind != LMTP {
		switch r := results[0].refusal; {
		case r == nil:
			c.delivered()
			c.reply(250, code3{2, 0, 0}, done+" as "+m.id)
			return nil
		case r.Code < 500: // the client has done all it could
			c.replyTo(r)
			return c.slowDown()
		default:
			return c.refuse(r)
		}
	}
	// RFC 2033 section 4.2: one reply for each RCPT, in the same order.
	for _, r := range results {
		if r.refusal != nil {
			c.reply(r.refusal.Code, r.refusal.EnhancedCode, "<"+r.to+"> "+r.refusal.Message)
		} else {
			c.reply(250, code3{2, 1, 5}, "<"+r.to+"> Stored as "+m.id)
		}
	}
	return nil
}
