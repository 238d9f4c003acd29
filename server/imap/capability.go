package imap

import (
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// capabilities are the parts of the capability list that do not change while
// the server runs, each with a space before it.
type capabilities struct {
	before string // login
	after  string
}

func newCapabilities(srv *Server) capabilities {
	var before, after strings.Builder
	put := func(b *strings.Builder, caps ...imap.Cap) {
		for _, c := range caps {
			b.WriteByte(' ')
			b.WriteString(string(c))
		}
	}
	versions := []imap.Cap{imap.CapIMAP4rev1}
	if !srv.cfg.NoRev2 {
		versions = append(versions, imap.CapIMAP4rev2)
	}
	put(&before, versions...)
	put(&after, versions...)
	put(&before, imap.CapLiteralPlus, imap.CapSASLIR, imap.CapEnable, imap.CapIdle, capID)
	// What belongs to no single command, then what the commands bring.
	put(&after, imap.CapLiteralPlus)
	for _, part := range [][]command{connectionCommands(), mailboxCommands(), messageCommands()} {
		for _, cmd := range part {
			put(&after, cmd.caps...)
		}
	}
	put(&after, imap.Cap("APPENDLIMIT="+strconv.FormatInt(srv.cfg.AppendLimit, 10)))
	return capabilities{before.String(), after.String()}
}

const capID = imap.Cap("ID") // RFC 2971

// capabilityList writes all capabilities of the session as it stands, each
// with a space before it.
func (s *session) capabilityList() string {
	if s.state() != notAuthenticated {
		return s.srv.caps.after
	}
	list := s.srv.caps.before
	if !s.tls && s.srv.cfg.TLS != nil {
		list += " " + string(imap.CapStartTLS)
	}
	if !s.passwordsAllowed() {
		return list + " " + string(imap.CapLoginDisabled)
	}
	for _, m := range mechanisms() {
		list += " AUTH=" + m.name
	}
	return list
}

func runCapability(s *session) error {
	if err := s.lx.end(); err != nil {
		return err
	}
	s.w.raw("* CAPABILITY")
	s.w.raw(s.capabilityList())
	s.w.crlf()
	return nil
}
