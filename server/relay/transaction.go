package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-smtp"
)

// Mail is what begins a transaction. Addresses have the form that they have
// between angle brackets.
type Mail struct {
	From string // "" for the null sender
	Size int64  // approximate octets of the message; 0 if not known
	UTF8 bool   // addresses, or the message header, may be in UTF-8 (RFC 6531)
}

// Transaction is a message that is being passed to the relay. Call Rcpt for each recipient,
// Write the text, then Commit. Close must be called in any case. Only one goroutine at a time
// may use a Transaction, except for Cut.
//
// If the relay refuses, the error is an *smtp.SMTPError with 4xx or 5xx and a text in printable
// ASCII for the submitting client. Any other error means that the relay cannot be used; the
// transaction is then over.
type Transaction struct {
	relay *Relay
	conn  *conn
	text  *text // nil before DATA
	// over means that QUIT must not be sent: it was, or the connection is lost or in
	// the middle of a message.
	over bool
}

// Begin connects to the relay and begins a transaction. ctx only applies to connecting and
// logging in; Timeouts and Cut limit the rest. Its errors are like those of a Transaction.
func (r *Relay) Begin(ctx context.Context, m Mail) (*Transaction, error) {
	c, err := r.open(ctx)
	if err != nil {
		return nil, r.trouble(err)
	}
	t := &Transaction{relay: r, conn: c}
	if err := t.mail(m); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// mail sends MAIL. It declares octets above 127 whenever the relay supports them,
// because submitting clients often do not, and it does not oblige the relay to anything
// if there are none.
func (t *Transaction) mail(m Mail) error {
	if err := t.ascii(m.From, "Sender"); err != nil {
		return err
	}
	line := "MAIL FROM:<" + m.From + ">"
	if t.conn.offers.size && m.Size > 0 {
		line += fmt.Sprintf(" SIZE=%d", m.Size)
	}
	if t.conn.offers.eightBit {
		line += " BODY=8BITMIME"
	}
	if t.conn.offers.utf8 && m.UTF8 {
		line += " SMTPUTF8"
	}
	return t.ask(line, done)
}

// Rcpt adds a recipient.
func (t *Transaction) Rcpt(to string) error {
	if err := t.ascii(to, "Recipient"); err != nil {
		return err
	}
	return t.ask("RCPT TO:<"+to+">", done)
}

// UTF8 reports whether the relay accepts headers in UTF-8.
func (t *Transaction) UTF8() bool { return t.conn.offers.utf8 }

// EightBit reports whether the relay accepts text with octets above 127 (RFC 6152).
func (t *Transaction) EightBit() bool { return t.conn.offers.eightBit }

// ascii returns an error if an address has characters that the relay does not accept.
func (t *Transaction) ascii(address, what string) error {
	if t.conn.offers.utf8 || !strings.ContainsFunc(address, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return nil
	}
	return &smtp.SMTPError{
		Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 7},
		Message: what + " has characters outside ASCII, which the relay does not take",
	}
}

// ask sends a command and reads the reply, which must have the class want.
func (t *Transaction) ask(line string, want class) error {
	_ = t.conn.wire.SetDeadline(time.Now().Add(t.relay.cfg.Timeouts.Command))
	said, err := t.conn.command(line)
	if err != nil {
		return t.lost(err)
	}
	return t.wanted(said, want)
}

// wanted returns the error for a reply that does not have the class want.
func (t *Transaction) wanted(said reply, want class) error {
	if said.class() == want {
		return nil
	}
	err := said.refusal()
	if _, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return err
	}
	return t.lost(err)
}

// lost ends the transaction for an error that is not a refusal.
func (t *Transaction) lost(err error) error {
	t.over = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no response in time: %w", err)
	}
	return t.relay.trouble(err)
}

// Write writes a piece of the message with LF line ends. The first call sends DATA.
func (t *Transaction) Write(p []byte) (int, error) {
	if t.text == nil {
		if err := t.ask("DATA", goOn); err != nil {
			return 0, err
		}
		t.over = true
		t.text = &text{w: bufio.NewWriterSize(patient{t}, blockSize)}
	}
	if err := t.text.write(p); err != nil {
		return 0, t.interrupted(err)
	}
	return len(p), nil
}

// interrupted returns the error of a message that the relay stopped accepting. The
// relay may have sent a reply before it closed the connection, for instance that the
// message is too large.
func (t *Transaction) interrupted(err error) error {
	_ = t.conn.wire.SetReadDeadline(time.Now().Add(time.Second))
	if said, noReply := t.conn.reply(); noReply == nil {
		return t.wanted(said, none)
	}
	return t.lost(err)
}

// blockSize is how many octets of a message are sent at once.
const blockSize = 32 << 10

// patient sets a new deadline for each block.
type patient struct{ *Transaction }

func (w patient) Write(p []byte) (int, error) {
	_ = w.conn.wire.SetDeadline(time.Now().Add(w.relay.cfg.Timeouts.Block))
	return w.conn.wire.Write(p)
}

// Commit ends the message and the session, and returns the reply of the relay, which has then
// accepted the message for all recipients. After an error that is not a refusal, it is unknown
// whether it has.
func (t *Transaction) Commit() (said string, err error) {
	if t.text == nil {
		if _, err := t.Write(nil); err != nil {
			return "", err
		}
	}
	if err := t.conn.unasked(); err != nil {
		return "", t.lost(err)
	}
	if err := t.text.end(); err != nil {
		return "", t.interrupted(err)
	}
	_ = t.conn.wire.SetDeadline(time.Now().Add(t.relay.cfg.Timeouts.End))
	r, err := t.conn.reply()
	if err != nil {
		return "", t.lost(err)
	}
	t.over = false
	if r.class() == done {
		r = t.confirmed(r)
	}
	if err := t.wanted(r, done); err != nil {
		return "", err
	}
	return r.text(), nil
}

// confirmed sends QUIT and returns the reply to the message: r, unless another one comes before
// that to QUIT. Then the relay had sent one too many before, and the last one is the right one. If
// there is no reply to QUIT, which happens, r stands.
func (t *Transaction) confirmed(r reply) reply {
	t.over = true
	_ = t.conn.wire.SetDeadline(time.Now().Add(min(farewell, t.relay.cfg.Timeouts.Command)))
	if _, err := t.conn.wire.Write([]byte("QUIT\r\n")); err != nil {
		return r
	}
	for last := r; ; {
		next, err := t.conn.reply()
		switch {
		case err != nil:
			return r
		case next.code == 221:
			return last
		}
		last = next
	}
}

// Close ends the connection. A message that was not committed is discarded.
func (t *Transaction) Close() {
	if t.over {
		t.conn.cut()
		return
	}
	t.over = true
	t.conn.quit()
}

// Cut closes the connection at once, so that a pending call fails. Any goroutine may call it.
func (t *Transaction) Cut() { t.conn.cut() }
