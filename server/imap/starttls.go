package imap

import (
	"context"
	"crypto/tls"

	"github.com/emersion/go-imap/v2"
)

// tlsExtension is STARTTLS.
func tlsExtension() extension {
	return extension{
		commands: []command{{name: "STARTTLS", in: notAuthenticated, run: runStartTLS}},
		capsOf: func(s *session) []imap.Cap {
			if s.tls || s.srv.cfg.TLS == nil || s.state() != notAuthenticated {
				return nil
			}
			return []imap.Cap{imap.CapStartTLS}
		},
	}
}

// runStartTLS is STARTTLS (RFC 9051 section 6.2.1).
func runStartTLS(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	switch {
	case s.tls:
		return bad("TLS is already active.")
	case s.srv.cfg.TLS == nil:
		return bad("TLS is not available.")
	}
	s.done = done{text: "Begin TLS negotiation now.", then: s.startTLS}
	return nil
}

// startTLS performs the TLS handshake after the response to STARTTLS.
func (s *session) startTLS() error {
	if err := s.w.Flush(); err != nil {
		return &connError{err}
	}
	// Input that came before the handshake was not protected: an attacker may have injected
	// it (CVE-2011-0411 and similar).
	s.lx.Discard()
	conn := tls.Server(s.wire.Socket, s.srv.cfg.TLS)
	ctx, cancel := context.WithDeadline(s.srv.sessions.Stop(), s.wire.Until)
	defer cancel()
	if err := s.shakeHands(ctx, conn); err != nil {
		return err
	}
	s.wire.Stack(conn)
	s.tls = true
	return nil
}
