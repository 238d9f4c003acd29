package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/auth"
)

// unauthenticateExtension is UNAUTHENTICATE. The operator can disable it, because a proxy in
// front of the server may check the first login only (RFC 8437 section 8).
func unauthenticateExtension(cfg *Config) extension {
	if cfg.NoUnauthenticate {
		return extension{}
	}
	return extension{
		capsOf: func(s *session) []imap.Cap {
			if s.state() == notAuthenticated || s.compressed() {
				return nil
			}
			return []imap.Cap{imap.CapUnauthenticate}
		},
		commands: []command{{name: "UNAUTHENTICATE", in: loggedIn, run: runUnauthenticate}},
	}
}

// runUnauthenticate is UNAUTHENTICATE (RFC 8437): the session returns to its state after the
// greeting, but TLS stays. With compression it ends the session instead, since "Servers MAY
// close the connection with an untagged BYE response" (section 3). Compression would have to
// end in the middle of the client's input, at a place that only a final block could mark, and
// few compressors write one.
func runUnauthenticate(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	if s.compressed() {
		return bye(imap.ResponseCodeUnavailable, "Compression cannot be turned off, please reconnect.")
	}
	s.log.Info("logged out", "reason", "UNAUTHENTICATE")
	s.leave()
	s.enabled = enabled{}
	s.lx.UTF8, s.w.UTF8, s.w.Rev2 = false, false, false
	s.lx.Limits = s.srv.cfg.lexLimits(false)
	s.user, s.log = auth.User{}, s.anonymous
	s.began = time.Now()
	s.wire.Until = s.began.Add(s.srv.cfg.Timeouts.Login)
	s.done.code = "CAPABILITY" + s.capabilityList()
	return nil
}
