package login

import (
	"errors"
	"log/slog"

	"maildird/auth"
	"maildird/server/sasl"
)

// Refusal is why a login was refused, as far as its client is told.
type Refusal uint8

// The refusals.
const (
	Failed      Refusal = iota // user or password is wrong, or he is not let in
	OtherUser                  // the client wants to act for another user
	Throttled                  // it was not checked, after too many that failed
	Unavailable                // it cannot be checked now
)

// Counts tells whether the refusal is one of those after some of which a session
// ends.
func (r Refusal) Counts() bool { return r != Unavailable }

// longestName bounds what a stranger can put into the log: the octets of the
// longest address.
const longestName = 320

// Refused logs a login that failed by err, for programs that block the addresses
// that such logins come from, and tells why it is refused. err is one of
// Authenticator, or of sasl.Peer.
func Refused(log *slog.Logger, method, name string, err error) Refusal {
	log = log.With("method", method, "user", name[:min(len(name), longestName)])
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
