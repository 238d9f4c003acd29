package coexist

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// lmtpActor delivers to a user's INBOX by LMTP (RFC 2033).
type lmtpActor struct {
	name   string
	server *Server
	ledger *Ledger

	conn net.Conn
	text *textproto.Conn
	// hangUps is how many there were when the session began.
	hangUps int
}

// NewLMTPActor connects to a server when it makes its first step.
func NewLMTPActor(name string, s *Server, l *Ledger) Actor {
	return &lmtpActor{name: name, server: s, ledger: l}
}

func (a *lmtpActor) Name() string { return a.name }

func (a *lmtpActor) Close() {
	if a.conn != nil {
		a.conn.Close()
	}
}

// Step implements Actor.
func (a *lmtpActor) Step(rng *rand.Rand) (string, error) {
	if a.conn == nil {
		return "connect", a.connect()
	}
	if rng.IntN(20) == 0 {
		a.conn.Close()
		a.conn = nil
		return "disconnect", nil
	}
	for range 1 + rng.IntN(3) {
		if err := a.deliver(rng); err != nil {
			if !a.server.HungUp(err, a.hangUps) {
				return "deliver", err
			}
			a.conn.Close()
			a.conn = nil
			return "deliver ended by a crash", nil
		}
	}
	time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	return "deliver", nil
}

func (a *lmtpActor) connect() (err error) {
	a.hangUps = a.server.HangUps()
	if a.conn, err = net.DialTimeout("tcp", a.server.LMTP, answerLimit); err != nil {
		return err
	}
	a.text = textproto.NewConn(a.conn)
	if err := a.expect(220); err != nil {
		return err
	}
	return a.command(250, "LHLO client.test")
}

func (a *lmtpActor) expect(code int) error {
	if err := a.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if _, _, err := a.text.ReadResponse(code); err != nil {
		return fmt.Errorf("%s: %w", a.server.Name, err)
	}
	return nil
}

func (a *lmtpActor) command(code int, format string, args ...any) error {
	if err := a.text.PrintfLine(format, args...); err != nil {
		return err
	}
	if err := a.expect(code); err != nil {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	return nil
}

func (a *lmtpActor) deliver(rng *rand.Rand) error {
	if err := a.command(250, "MAIL FROM:<sender@coexist.test>"); err != nil {
		return err
	}
	if err := a.command(250, "RCPT TO:<%s>", a.server.Account.Address); err != nil {
		return err
	}
	if err := a.command(354, "DATA"); err != nil {
		return err
	}
	id, text := a.ledger.NewMail(rng, a.name)
	if _, err := io.WriteString(a.conn, strings.ReplaceAll(text, "\n", "\r\n")+".\r\n"); err != nil {
		return err
	}
	if err := a.expect(250); err != nil {
		a.ledger.Unsure(id, "LMTP without an answer")
		return err
	}
	a.ledger.Arrived(id, "INBOX", 1)
	return nil
}
