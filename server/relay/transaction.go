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

// Mail is what begins a transaction. Addresses are as they stand between the brackets of
// a command.
type Mail struct {
	From string // "" is the null sender
	Size int64  // octets of the message, about; 0: not known
	UTF8 bool   // addresses, or the header of the message, may be in UTF-8 (RFC 6531)
}

// Transaction is a message on its way to the relay. Begin it, name recipients, Write its
// text, Commit, and Close in any case. For one goroutine, but for Cut.
//
// An error is the relay's refusal, an *smtp.SMTPError of 4xx or 5xx with a text in
// printable ASCII that who submits is to be told; any other one says that the relay
// cannot be used, and the transaction is over.
type Transaction struct {
	relay *Relay
	conn  *conn
	text  *text // since DATA
	// over says that there is nothing to say good-bye for: the connection is lost, or
	// in the middle of a message.
	over bool
}

// Begin connects to the relay and begins a transaction. ctx is for that only.
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

// mail is MAIL. That the text may have octets above 127 is said whenever it can be: who
// submits often does not, and it binds the relay to nothing if it has none.
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

// Rcpt names a recipient.
func (t *Transaction) Rcpt(to string) error {
	if err := t.ascii(to, "Recipient"); err != nil {
		return err
	}
	return t.ask("RCPT TO:<"+to+">", done)
}

// UTF8 tells whether the relay takes headers in UTF-8.
func (t *Transaction) UTF8() bool { return t.conn.offers.utf8 }

// EightBit tells whether it takes text with octets above 127 (RFC 6152).
func (t *Transaction) EightBit() bool { return t.conn.offers.eightBit }

// ascii refuses an address that the relay's protocol has no letters for.
func (t *Transaction) ascii(address, what string) error {
	if t.conn.offers.utf8 || !strings.ContainsFunc(address, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return nil
	}
	return &smtp.SMTPError{
		Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 7},
		Message: what + " has characters outside ASCII, which the relay does not take",
	}
}

// ask sends a command and takes the reply, which is to be of that class.
func (t *Transaction) ask(line string, want class) error {
	_ = t.conn.wire.SetDeadline(time.Now().Add(t.relay.cfg.Timeouts.Command))
	said, err := t.conn.command(line)
	if err != nil {
		return t.lost(err)
	}
	return t.wanted(said, want)
}

// wanted is the error of a reply that is not of that class.
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

// lost ends the transaction for an error that is no refusal.
func (t *Transaction) lost(err error) error {
	t.over = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no response in time: %w", err)
	}
	return t.relay.trouble(err)
}

// Write takes a piece of the message with LF line ends; with the first one the relay is
// asked for it (DATA).
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

// interrupted is the error of a message that the relay takes no more of. It may have
// said why before it hung up, such as that the message is too large.
func (t *Transaction) interrupted(err error) error {
	_ = t.conn.wire.SetReadDeadline(time.Now().Add(time.Second))
	if said, noReply := t.conn.reply(); noReply == nil {
		return t.wanted(said, none)
	}
	return t.lost(err)
}

// blockSize is how much of a message is sent at once, in octets.
const blockSize = 32 << 10

// patient gives each block its own time.
type patient struct{ *Transaction }

func (w patient) Write(p []byte) (int, error) {
	_ = w.conn.wire.SetDeadline(time.Now().Add(w.relay.cfg.Timeouts.Block))
	return w.conn.wire.Write(p)
}

// Commit ends the message and returns what the relay said: it has taken it, for all
// recipients. After an error that is no refusal, nobody knows whether it has.
func (t *Transaction) Commit() (said string, err error) {
	if t.text == nil {
		if _, err := t.Write(nil); err != nil {
			return "", err
		}
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
	if err := t.wanted(r, done); err != nil {
		return "", err
	}
	return r.text(), nil
}

// Close ends the connection. A message that is not committed is none.
func (t *Transaction) Close() {
	if t.over {
		t.conn.cut()
		return
	}
	t.over = true
	t.conn.quit()
}

// Cut is Close at once, whatever is under way then fails. Any goroutine may call it.
func (t *Transaction) Cut() { t.conn.cut() }
