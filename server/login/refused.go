package login

import (
	"errors"
	"log/slog"

	"maildird/auth"
	"maildird/server/sasl"
)

// Refusal is the reason for refusing a login, as far as the client is told.
type Refusal uint8

// The reasons.
const (
	Failed      Refusal = iota // wrong user or password, or a user who may not log in
	OtherUser                  // the client wants to act for another user
	Throttled                  // not checked, after too many failures
	Unavailable                // cannot be checked at the moment
)

// Counts reports whether the refusal counts towards the limit that ends a session.
func (r Refusal) Counts() bool { return r != Unavailable }

// maxLoggedName is how much of a name is logged, in octets: the length of the longest address.
const maxLoggedName = 320

// Refused logs a failed login, for programs that block the addresses of such clients, and
// returns the reason. err is one that sasl.Peer.Refused gets.
func Refused(log *slog.Logger, method, name string, err error) Refusal {
	log = log.With("method", method, "user", name[:min(len(name), maxLoggedName)])
	switch {
	case errors.Is(err, sasl.ErrOther):
		log.Warn("login failed", "error", err)
		return OtherUser
	case errors.Is(err, auth.ErrInvalid), errors.Is(err, sasl.ErrProof), errors.Is(err, sasl.ErrToken):
		log.Warn("login failed", "error", err)
		return Failed
	case errors.Is(err, auth.ErrThrottled):
		if !errors.Is(err, auth.ErrThrottledAgain) {
			log.Warn("login refused", "error", err, "more", "not logged again while the lock lasts")
		}
		return Throttled
	}
	log.Error("login cannot be checked", "error", err)
	return Unavailable
}
