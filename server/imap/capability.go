package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// capabilities are the capabilities that do not depend on the session, as text. Each
// has a space before it.
type capabilities struct {
	before string // announced before login
	after  string // announced after login
}

func newCapabilities(g *grammar) capabilities {
	return capabilities{before: spaced(g.early), after: spaced(append(g.early[:len(g.early):len(g.early)], g.caps...))}
}

func spaced(caps []imap.Cap) string {
	var b strings.Builder
	for _, c := range caps {
		b.WriteByte(' ')
		b.WriteString(string(c))
	}
	return b.String()
}

// capabilityList returns the capabilities of the session in its current state, each
// with a space before it.
func (s *session) capabilityList() string {
	list := s.srv.caps.before
	if s.state() != notAuthenticated {
		list = s.srv.caps.after
	}
	for _, caps := range s.srv.grammar.capsOf {
		list += spaced(caps(s))
	}
	return list
}

// runCapability is CAPABILITY (RFC 9051 section 6.1.1).
func runCapability(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	s.w.Raw("* CAPABILITY")
	s.w.Raw(s.capabilityList())
	s.w.CRLF()
	return nil
}

// rev1Extension is IMAP4rev1 (RFC 3501).
func rev1Extension() extension { return extension{early: []imap.Cap{imap.CapIMAP4rev1}} }

// rev2Extension is IMAP4rev2 (RFC 9051). It changes nothing for clients that do not
// enable it.
func rev2Extension(cfg *Config) extension {
	if cfg.NoRev2 {
		return extension{}
	}
	return extension{
		early: []imap.Cap{imap.CapIMAP4rev2},
		enable: []enabler{{name: imap.CapIMAP4rev2, on: func(s *session) bool {
			was := s.rev2
			s.rev2, s.w.Rev2 = true, true
			s.speakUTF8()
			return !was
		}}},
	}
}

// speakUTF8 switches quoted strings and mailbox names to UTF-8.
func (s *session) speakUTF8() { s.lx.UTF8, s.w.UTF8 = true, true }

// literalExtension is LITERAL+ (RFC 7888). The lexer implements it.
func literalExtension() extension { return extension{early: []imap.Cap{imap.CapLiteralPlus}} }
