package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/wire"
)

// selectExtension is SELECT, EXAMINE, CLOSE and CHECK.
func selectExtension() extension {
	return extension{commands: []command{
		{name: "SELECT", in: loggedIn, stuck: true, run: runSelect},
		{name: "EXAMINE", in: loggedIn, stuck: true, run: runExamine},
		{name: "CLOSE", in: selected, run: runClose},
		{name: "CHECK", in: selected, news: allNews, run: runNoop},
	}}
}

// unselectExtension is UNSELECT (RFC 3691).
func unselectExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapUnselect},
		commands: []command{{name: "UNSELECT", in: selected, stuck: true, run: runUnselect}},
	}
}

func runSelect(s *session) error  { return s.selectMailbox(false) }
func runExamine(s *session) error { return s.selectMailbox(true) }

// selectRequest is the arguments of SELECT and EXAMINE.
type selectRequest struct {
	name string
	// checks are called before anything else is done.
	checks []func(*session) error
	// opened are called after the mailbox was selected and described.
	opened []func(*session) error
}

// selectMailbox is SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3), with
// parameters (RFC 4466).
func (s *session) selectMailbox(readOnly bool) error {
	lx := s.lx
	lx.SP()
	req := selectRequest{name: lx.MailboxAsGiven()}
	if lx.More() {
		lx.OptionalList(lx.grammar.selectParams.once(lx, &req, "parameter"))
	}
	if err := lx.End(); err != nil {
		if status, _ := statusOf(err); status.Type == imap.StatusResponseTypeNo {
			s.closePrevious() // the name is invalid, so this is a SELECT that fails
		}
		return err
	}
	for _, check := range req.checks {
		if err := check(s); err != nil {
			return err
		}
	}
	s.closePrevious()
	if s.account.Stuck() {
		return errNoAnswer
	}
	name, err := s.account.Tree().Canonical(req.name)
	if err != nil {
		return err
	}
	box, err := s.open(name)
	if err != nil {
		return err
	}
	view, err := box.NewView(s.ctx, readOnly, func() { s.wire.Wake(wire.NewsMailbox) })
	if err != nil {
		if box.Broken() {
			err = errBroken()
		}
		box.Release()
		return err
	}
	s.sel = &selection{name: name, box: box, view: view}
	s.describeMailbox(req.name)
	for _, more := range req.opened {
		if err := more(s); err != nil {
			if box.Broken() {
				err = errBroken()
			}
			s.unselect()
			return err
		}
	}
	s.done = done{code: "READ-WRITE", text: "Mailbox is selected."}
	if view.ReadOnly() {
		s.done.code = "READ-ONLY"
	}
	return nil
}

// closePrevious deselects the selected mailbox, if any. Every well-formed SELECT does, even if
// it fails (RFC 9051 section 6.3.2).
func (s *session) closePrevious() {
	if s.sel != nil {
		s.unselect()
		s.w.untagged("OK", "CLOSED", "Previous mailbox is now closed.")
	}
}

// describeMailbox writes the untagged responses to SELECT and EXAMINE. given is the name
// that the client used.
func (s *session) describeMailbox(given string) {
	view, w := s.sel.view, s.w
	s.mailboxFlagsResponse()
	s.w.count(view.Exists(), " EXISTS\r\n")
	if !s.rev2 {
		s.w.count(view.Recent(), " RECENT\r\n")
		if n := view.FirstUnseen(); n > 0 && !s.uidOnly {
			s.w.okNumber("UNSEEN", n, "First unseen.")
		}
	}
	s.w.okNumber("UIDVALIDITY", view.UIDValidity(), "UIDs are valid.")
	s.w.okNumber("UIDNEXT", view.UIDNext(), "Predicted next UID.")
	if s.rev2 {
		s.listResponse(nil, s.sel.name)
		if given != s.sel.name {
			s.w.oldName(given)
		}
		w.CRLF()
	}
	for _, more := range s.srv.grammar.selected {
		more(s)
	}
}

// okNumber writes "* OK [code n] text".
func (w *writer) okNumber(code string, n uint32, text string) {
	w.Raw("* OK [")
	w.Raw(code)
	w.SP()
	w.Number(uint64(n))
	w.Raw("] ")
	w.Raw(text)
	w.CRLF()
}

// runClose is CLOSE (RFC 9051 section 6.4.1).
func runClose(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	var err error
	if !s.sel.view.ReadOnly() {
		_, err = s.sel.view.Expunge(s.ctx, nil)
	}
	name := s.sel.name
	s.unselect()
	if err != nil {
		// The mailbox is closed in any case, and no client could do anything about a NO.
		s.log.Error("deleted messages cannot be removed at CLOSE", "mailbox", name, "error", err)
	}
	return nil
}

// runUnselect is UNSELECT (RFC 9051 section 6.4.2).
func runUnselect(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	s.unselect()
	return nil
}
