package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/auth"
)

// unauthenticateExtension is UNAUTHENTICATE.
func unauthenticateExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapUnauthenticate},
		commands: []command{{name: "UNAUTHENTICATE", in: loggedIn, run: runUnauthenticate}},
	}
}

// runUnauthenticate is UNAUTHENTICATE (RFC 8437): the session is as it was
// after the greeting, but for TLS.
func runUnauthenticate(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	s.leave()
	s.enabled = enabled{}
	s.lx.UTF8, s.w.UTF8 = false, false
	s.lx.Limits = s.srv.cfg.lexLimits(false)
	s.user, s.log = auth.User{}, s.anonymous
	s.began = time.Now()
	s.wire.Until = s.began.Add(s.srv.cfg.Timeouts.Login)
	s.done.code = "CAPABILITY" + s.capabilityList()
	return nil
}
