package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// enableExtension is ENABLE. What it turns on comes from other files.
func enableExtension() extension {
	return extension{
		early:    []imap.Cap{imap.CapEnable},
		commands: []command{{name: "ENABLE", in: loggedIn, news: allNews, run: runEnable}},
	}
}

// enabled is what the client changed by ENABLE.
type enabled struct {
	rev2 bool // IMAP4rev2
	utf8 bool // UTF8=ACCEPT

	condstore      bool // the client is told mod-sequences
	condstoreNamed bool // it asked for CONDSTORE by name
	qresync        bool // QRESYNC

	uidOnly bool // UIDONLY
}

// runEnable is ENABLE (RFC 9051 section 6.3.1). What is not known is passed over.
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
