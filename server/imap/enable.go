package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// enableExtension is ENABLE. Other files define what can be enabled.
func enableExtension() extension {
	return extension{
		early:    []imap.Cap{imap.CapEnable},
		commands: []command{{name: "ENABLE", in: loggedIn, news: allNews, run: runEnable}},
	}
}

// enabled is what the client has enabled.
type enabled struct {
	rev2 bool // IMAP4rev2
	utf8 bool // UTF8=ACCEPT

	condstore      bool // report mod-sequences to the client
	condstoreNamed bool // by ENABLE CONDSTORE, not by a command that implies it
	qresync        bool // QRESYNC

	uidOnly bool // UIDONLY
}

// runEnable is ENABLE (RFC 9051 section 6.3.1). Unknown capabilities are ignored.
func runEnable(s *session) error {
	lx := s.lx
	var asked []*enabler
	lx.SP()
	for {
		if e := s.srv.grammar.enabler(lx.Word()); e != nil {
			asked = append(asked, e)
		}
		if !lx.More() {
			break
		}
	}
	if err := lx.End(); err != nil {
		return err
	}
	s.w.Raw("* ENABLED")
	for _, e := range asked {
		if e.on(s) {
			s.w.SP()
			s.w.Raw(string(e.name))
		}
	}
	s.w.CRLF()
	for _, e := range asked {
		if e.then == nil {
			continue
		}
		if err := e.then(s); err != nil {
			return err
		}
	}
	return nil
}

func (g *grammar) enabler(word []byte) *enabler {
	for i := range g.enable {
		if strings.EqualFold(string(g.enable[i].name), string(word)) {
			return &g.enable[i]
		}
	}
	return nil
}
