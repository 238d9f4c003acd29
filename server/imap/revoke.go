package imap

import (
	"sync/atomic"
	"time"

	"maildird/auth"
	"maildird/server/imap/wire"
)

// granted is whose login a session has, for Recheck, which runs in another
// goroutine.
type granted struct {
	to      atomic.Pointer[auth.User] // nil before login
	revoked atomic.Bool               // the login does not hold any more: the session ends
}

// revokedPatience is how long a session whose login was revoked has to say BYE,
// whatever its client does not take.
const revokedPatience = 10 * time.Second

// Recheck ends all sessions whose logins do not hold any more, whatever they do. It
// is to be called when Config.Revoked may have other answers than before.
func (srv *Server) Recheck() { srv.sessions.Each((*session).recheck) }

// recheck ends the session if its login does not hold any more. Any goroutine may
// call it.
func (s *session) recheck() {
	user := s.granted.to.Load()
	if user == nil || s.srv.cfg.Revoked == nil || !s.srv.cfg.Revoked(s.remote.Addr(), *user) {
		return
	}
	if s.granted.revoked.CompareAndSwap(false, true) {
		s.wire.Wake(wire.NewsRevoked)
		time.AfterFunc(revokedPatience, s.Cut)
	}
}

func errRevoked() error { return bye("", "Your account was changed, please log in again.") }
