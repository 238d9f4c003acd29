package imap

import (
	"errors"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox"
)

// tellNews polls the selected mailbox, and the events of NOTIFY, and reports what the client
// does not know yet. An error ends the session.
func (s *session) tellNews(n news) error {
	if n == noNews {
		return nil
	}
	err := s.tellSelected(n)
	if err == nil && s.notify != nil {
		err = s.notify.tell()
	}
	return err
}

// tellSelected is tellNews for the selected mailbox only.
func (s *session) tellSelected(n news) error {
	if s.sel == nil || s.account.Stuck() {
		return nil
	}
	var ended error
	if err := s.sel.view.Poll(s.ctx); errors.Is(err, mailbox.ErrReplaced) {
		if !s.done.mayLoseSelected {
			ended, _ = statusOf(err)
		}
	} else if err != nil && !errors.Is(err, dirfd.ErrNoAnswer) {
		s.log.Warn("mailbox cannot be read", "mailbox", s.sel.name, "error", err)
	}
	last, grew, fewer := s.sel.view.LastUID(), false, false
	var news []mailbox.Update
	s.sel.view.Updates(s.holds(n), func(u mailbox.Update) { news = append(news, u) })
	s.tellLeaving(news)
	for _, u := range news {
		grew = grew || u.Kind == mailbox.Exists
		fewer = fewer || u.Kind == mailbox.Expunge
		s.writeUpdate(u)
	}
	s.flushVanished()
	s.sel.aside = !s.done.asked && (grew || fewer || s.sel.aside)
	if ended != nil {
		return ended
	}
	return s.follow(news, last, grew)
}

func (s *session) writeUpdate(u mailbox.Update) {
	if u.Kind != mailbox.Expunge {
		s.flushVanished()
	}
	switch u.Kind {
	case mailbox.Exists:
		s.w.count(u.Count, " EXISTS\r\n")
		s.sel.modseq.untold = true
	case mailbox.Recent:
		if !s.rev2 { // RFC 9051 appendix E: no RECENT
			s.w.count(u.Count, " RECENT\r\n")
		}
	case mailbox.Expunge:
		s.expunged(u)
	case mailbox.Flags:
		s.flagsResponse(u.Message)
	case mailbox.KeyChanged:
		s.tellURLMechanisms()
	case mailbox.KeywordsChanged:
		s.mailboxFlagsResponse()
	}
}

// tellKeywords reports new keywords. It is called before responses that may contain them.
func (s *session) tellKeywords() {
	if s.sel.view.NewKeywords() {
		s.mailboxFlagsResponse()
	}
}

// count writes "* n what".
func (w *writer) count(n uint32, what string) {
	w.Raw("* ")
	w.Number(uint64(n))
	w.Raw(what)
}

// flagsResponse writes a FETCH response with the flags of a message. It includes the UID, which
// the response to a UID command must have (RFC 9051 section 6.4.9), and in IMAP4rev2 every one
// that the client did not ask for (section 7.5.2).
func (s *session) flagsResponse(m mailbox.Message) {
	s.w.Byte(s.fetchUIDResponse(m))
	s.w.Raw("FLAGS ")
	s.flags(m)
	s.flagData(nil, m)
	s.w.Raw(")\r\n")
}

// flagData writes the items that extensions add to a FETCH response with flags.
func (s *session) flagData(items *fetchItems, m mailbox.Message) {
	for _, more := range s.srv.grammar.flagData {
		more(s, items, m)
	}
}

// mailboxFlagsResponse writes FLAGS and PERMANENTFLAGS.
func (s *session) mailboxFlagsResponse() {
	w := s.w
	w.Raw("* FLAGS ")
	s.mailboxFlags(false)
	w.CRLF()
	w.Raw("* OK [PERMANENTFLAGS ")
	if s.sel.view.ReadOnly() {
		w.Raw("()] No flags can be stored.\r\n")
		return
	}
	s.mailboxFlags(!s.sel.view.KeywordsFull())
	w.Raw("] Flags that can be stored.\r\n")
}
