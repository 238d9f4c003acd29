package coexist

import (
	"fmt"
	"math/rand/v2"
	"time"

	"maildird/scripts/rig"
)

// lmtpActor delivers to the INBOX of a user by LMTP (RFC 2033).
type lmtpActor struct {
	name   string
	server *Server
	ledger *Ledger

	sender *rig.Sender // nil if not connected
	// hangUps is the number of hang-ups when the session began.
	hangUps int
}

// NewLMTPActor returns an actor that connects to a server in its first step.
func NewLMTPActor(name string, s *Server, l *Ledger) Actor {
	return &lmtpActor{name: name, server: s, ledger: l}
}

func (a *lmtpActor) Name() string { return a.name }

func (a *lmtpActor) Close() {
	if a.sender != nil {
		a.sender.Close()
		a.sender = nil
	}
}

// Step implements Actor.
func (a *lmtpActor) Step(rng *rand.Rand) (string, error) {
	if a.sender == nil {
		err := a.connect()
		if a.server.HungUp(err, a.hangUps) {
			return "connect ended by a crash", nil
		}
		return "connect", err
	}
	if rng.IntN(20) == 0 {
		a.Close()
		return "disconnect", nil
	}
	for range 1 + rng.IntN(3) {
		if err := a.deliver(rng); err != nil {
			if !a.server.HungUp(err, a.hangUps) {
				return "deliver", err
			}
			a.Close()
			return "deliver ended by a crash", nil
		}
	}
	time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	return "deliver", nil
}

func (a *lmtpActor) connect() (err error) {
	a.hangUps = a.server.HangUps()
	if a.sender, err = rig.DialSender(a.server.LMTP, true, answerLimit); err != nil {
		return fmt.Errorf("%s: %w", a.server.Name, err)
	}
	return nil
}

func (a *lmtpActor) deliver(rng *rand.Rand) error {
	if err := a.sender.Begin("sender@coexist.test", a.server.Account.Address); err != nil {
		return fmt.Errorf("%s: %w", a.server.Name, err)
	}
	id, text := a.ledger.NewMail(rng, a.name)
	if err := a.sender.Text(text, 1)[0]; err != nil {
		a.ledger.Unsure(id, "LMTP without an answer")
		return fmt.Errorf("%s: %w", a.server.Name, err)
	}
	a.ledger.Arrived(id, "INBOX", 1)
	return nil
}
