package imap

import "maildird/server/imap/wire"

// Recheck ends all sessions whose logins do not hold any more, whatever they do. It
// is to be called when Config.Revoked may have other answers than before.
func (srv *Server) Recheck() { srv.sessions.Each((*session).recheck) }

// recheck ends the session if its login does not hold any more. Any goroutine may
// call it.
func (s *session) recheck() {
	s.granted.Recheck(s.peer.Addr, s.srv.cfg.Revoked, func() { s.wire.Wake(wire.NewsRevoked) }, s.Cut)
}

func errRevoked() error { return bye("", "Your account has changed, please log in again.") }
