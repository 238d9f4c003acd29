package imap

import "maildird/server/imap/wire"

// Recheck ends all sessions whose logins are no longer valid, whatever they are doing. It must
// be called when the answers of Config.Revoked may have changed. It is safe for concurrent use.
func (srv *Server) Recheck() { srv.sessions.Each((*session).recheck) }

// recheck ends the session if its login is no longer valid. Any goroutine may call it.
func (s *session) recheck() {
	s.granted.Recheck(s.peer.Addr, s.srv.cfg.Revoked, func() { s.wire.Wake(wire.NewsRevoked) }, s.Cut)
}

func errRevoked() error { return bye("", "Your account has changed, please log in again.") }
