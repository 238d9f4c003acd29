package smtp

import (
	"context"
	"errors"
	"log/slog"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"maildird/server/relay"
)

// relaying is the part of a submission for other domains: a transaction with the relay, which
// is asked about each recipient and gets the text as it arrives. Only when the copies here are
// complete is the message committed at the relay; then the copies get their final names. If
// that last step fails, which is unlikely by then, the client is told to try again: the message
// is relayed twice, but never lost.
//
// It is nil for a transaction without such recipients.
type relaying struct {
	s    *session
	tx   *relay.Transaction // nil if it could not begin
	work func() bool        // unregisters tx from the end of the server
	to   []string           // recipients that the relay accepted
	// failed is why no more recipients are possible, and no message if there are recipients.
	failed *smtp.SMTPError

	trace []byte // the fields at the top of the message
	size  int64  // bytes of the message so far, without trace
}

// relays reports whether mail for an address goes to the relay. Only submitted mail does.
func (srv *Server) relays(a address) bool {
	if srv.kind != Submission || srv.cfg.Relay == nil {
		return false
	}
	_, ours := srv.recipients.domainOf(a)
	return !ours
}

// relayTo adds a recipient in another domain, if the relay accepts it.
func (s *session) relayTo(to address) error {
	memory := memoryOf(to, 0, 0)
	if !s.hold(memory) {
		return errTooMany()
	}
	if err := s.countRecipient(to); err != nil {
		s.release(memory)
		return err
	}
	if s.relaying == nil {
		s.relaying = s.beginRelaying()
	}
	r := s.relaying
	refused := r.failed
	if refused == nil {
		if err := r.tx.Rcpt(withALabels(to.String())); err != nil {
			refused = r.refusal(err)
		}
	}
	if refused != nil {
		s.release(memory)
		if refused.Code < 500 {
			s.log.Info("recipient refused for now", "from", shorten(s.sender()), "to", shorten(to.String()), "reply", asLine(refused))
		}
		return refused
	}
	text := to.String()
	r.to = append(r.to, text)
	s.to = append(s.to, accepted{text: text})
	return nil
}

// beginRelaying begins the transaction with the relay. If that fails, all recipients of the
// message get the error.
func (s *session) beginRelaying() *relaying {
	r := &relaying{s: s}
	mail := relay.Mail{Size: s.from.size, UTF8: s.from.utf8}
	if !s.from.null {
		mail.From = withALabels(s.from.sender.String())
	}
	conns := s.srv.conns
	var err error
	if r.tx, err = s.srv.cfg.Relay.Begin(conns.Stop(), mail); err != nil {
		r.failed = r.refusal(err)
		return r
	}
	r.work = context.AfterFunc(conns.Work(), r.tx.Cut)
	return r
}

// refusal returns the reply to the client for an error of the relay. An error other than a
// reply of the relay to this command is logged, and makes the transaction fail.
func (r *relaying) refusal(err error) *smtp.SMTPError {
	if refused, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return refused
	}
	if r.s.srv.conns.Stopping() {
		r.failed = refusal(451, code3{4, 3, 2}, "Server is shutting down, try again later")
		return r.failed
	}
	r.s.log.Error("relay cannot be used", "from", shorten(r.s.sender()), "error", err)
	r.failed = refusal(451, code3{4, 4, 1}, "Relay for other domains is unavailable, try again later")
	return r.failed
}

// any reports whether the relay accepted a recipient.
func (r *relaying) any() bool { return r != nil && len(r.to) > 0 }

// ready returns an error if the message cannot be relayed.
func (r *relaying) ready() error {
	if r.any() && r.failed != nil {
		return r.failed
	}
	return nil
}

// begin begins the message. header is only inspected; it must be passed to write afterwards.
func (r *relaying) begin(header []byte) *smtp.SMTPError {
	if r == nil {
		return nil
	}
	if r.s.from.utf8 && !r.tx.UTF8() && !(isASCII(header) && isASCII(r.trace)) {
		return refusal(550, code3{5, 6, 9}, "Message header has non-ASCII characters, which the relay does not accept")
	}
	return r.send(r.trace)
}

// write takes a piece of text with LF line ends.
func (r *relaying) write(text []byte) *smtp.SMTPError {
	r.size += int64(len(text))
	return r.send(text)
}

func (r *relaying) send(text []byte) *smtp.SMTPError {
	if !r.tx.EightBit() && !isASCII(text) {
		// RFC 6152 section 3: do not send it to a server that does not accept it.
		return refusal(554, code3{5, 6, 3}, "Message has non-ASCII characters, which the relay does not accept")
	}
	if _, err := r.tx.Write(text); err != nil {
		return r.refusal(err)
	}
	return nil
}

// commit completes the message at the relay.
func (r *relaying) commit(m *message) *smtp.SMTPError {
	said, err := r.tx.Commit()
	if err != nil {
		return r.refusal(err)
	}
	s := r.s
	s.log.LogAttrs(s.srv.conns.Work(), slog.LevelInfo, "message relayed", slog.String("id", m.id),
		slog.String("from", s.sender()), slog.String("to", list(r.to)),
		slog.String("message_id", m.head.messageID), slog.Int64("size", r.size),
		slog.String("relay", s.srv.cfg.Relay.Address()), slog.String("reply", said))
	return nil
}

// close ends the transaction with the relay, which discards a message that was not committed.
func (r *relaying) close() {
	if r == nil || r.tx == nil {
		return
	}
	r.work()
	r.tx.Close()
	r.tx = nil
}

// relayTrace returns the fields at the top of the relayed message. It names the
// recipient only if there is just one, since recipients must not learn about each other
// (RFC 5321 section 7.2).
func (s *session) relayTrace(received []byte, now string) []byte {
	b := append([]byte{}, received...)
	if to := s.relaying.to; len(to) == 1 {
		b = append(b, "\n\tfor <"...)
		b = append(b, withALabels(to[0])...)
		b = append(b, '>')
	}
	b = append(b, "; "...)
	b = append(b, now...)
	return append(b, '\n')
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
