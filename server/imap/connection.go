package imap

import (
	"context"
	"crypto/tls"

	"github.com/emersion/go-imap/v2"
)

// connectionCommands are the commands that need no mailbox.
func connectionCommands() []command {
	return []command{
		{name: "CAPABILITY", in: always, news: allNews, run: runCapability},
		{name: "NOOP", in: always, news: allNews, run: runNoop},
		{name: "LOGOUT", in: always, run: runLogout},
		{name: "ID", in: always, news: allNews, run: runID, caps: []imap.Cap{capID}},
		{name: "STARTTLS", in: notAuthenticated, run: runStartTLS},
		{name: "LOGIN", in: notAuthenticated, run: runLogin},
		{name: "AUTHENTICATE", in: notAuthenticated, run: runAuthenticate, caps: []imap.Cap{imap.CapSASLIR}},
		{name: "UNAUTHENTICATE", in: loggedIn, run: runUnauthenticate, caps: []imap.Cap{imap.CapUnauthenticate}},
		{name: "ENABLE", in: loggedIn, news: allNews, run: runEnable, caps: []imap.Cap{imap.CapEnable}},
		{name: "IDLE", in: loggedIn, news: allNews, run: runIdle, caps: []imap.Cap{imap.CapIdle}},
	}
}

// runNoop is NOOP (RFC 9051 section 6.1.2).
func runNoop(s *session) error { return s.lx.end() }

// runLogout is LOGOUT (RFC 9051 section 6.1.3).
func runLogout(s *session) error {
	if err := s.lx.end(); err != nil {
		return err
	}
	s.writeStatus(nil, "BYE", "", "Logging out.")
	s.logout = true
	return nil
}

// runStartTLS is STARTTLS (RFC 9051 section 6.2.1).
func runStartTLS(s *session) error {
	if err := s.lx.end(); err != nil {
		return err
	}
	switch {
	case s.tls:
		return bad("TLS is active already.")
	case s.srv.cfg.TLS == nil:
		return bad("TLS is not available.")
	}
	s.done = done{text: "Begin TLS negotiation now.", then: s.startTLS}
	return nil
}

// startTLS goes on with TLS behind the response to STARTTLS.
func (s *session) startTLS() error {
	if err := s.w.flush(); err != nil {
		return &connError{err}
	}
	// What came before the handshake was not protected: somebody on the way
	// may have put it there (CVE-2011-0411 and its kin).
	s.lx.discard()
	conn := tls.Server(s.wire.socket, s.srv.cfg.TLS)
	ctx, cancel := context.WithDeadline(s.ctx, s.wire.until)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &connError{err}
	}
	s.wire.secure(conn)
	s.tls = true
	return nil
}

// runEnable is ENABLE (RFC 9051 section 6.3.1). What is not known is passed over.
func runEnable(s *session) error {
	lx := s.lx
	rev2, utf8 := false, false
	lx.sp()
	for {
		switch string(lx.word()) {
		case "IMAP4REV2":
			rev2 = !s.srv.cfg.NoRev2
		case "UTF8=ACCEPT":
			utf8 = true
		}
		if !lx.more() {
			break
		}
	}
	if err := lx.end(); err != nil {
		return err
	}
	s.w.raw("* ENABLED")
	if rev2 && !s.rev2 {
		s.rev2 = true
		s.w.raw(" IMAP4rev2")
	}
	if utf8 && !s.utf8 {
		s.utf8 = true
		s.w.raw(" UTF8=ACCEPT")
	}
	s.w.crlf()
	s.lx.utf8 = s.rev2 || s.utf8
	s.w.utf8 = s.lx.utf8
	return nil
}

// maxIDPairs is the limit that RFC 2971 section 3.3 sets.
const maxIDPairs = 30

// runID is ID (RFC 2971).
func runID(s *session) error {
	lx := s.lx
	lx.sp()
	var client []string
	if lx.peek() == '(' {
		lx.optionalList(func() {
			key := string(lx.str())
			lx.sp()
			value, _ := lx.nstring()
			if len(client) == 2*maxIDPairs {
				lx.fail("Too many fields.")
				return
			}
			client = append(client, key, string(value))
		})
	} else if _, isNil := lx.nstring(); !isNil {
		lx.fail("Expected a list or NIL.")
	}
	if err := lx.end(); err != nil {
		return err
	}
	s.log.Debug("client tells what it is", "id", client)
	s.w.raw("* ID (")
	for i, text := range s.srv.cfg.ID {
		if i > 0 {
			s.w.sp()
		}
		s.w.str(text)
	}
	s.w.raw(")\r\n")
	return nil
}
