package imap

import "maildird/maildir/message"

// envelope writes an ENVELOPE (RFC 9051 section 7.5.2). The strings are the
// text of the header as it stands there, encoded words and all.
func (w *writer) envelope(e *message.Envelope) {
	w.byte('(')
	w.nstr(e.Date, e.HasDate)
	w.sp()
	w.nstr(e.Subject, e.HasSubject)
	for _, list := range [...][]message.Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		w.sp()
		w.addresses(list)
	}
	w.sp()
	w.nstr(e.InReplyTo, e.HasInReplyTo)
	w.sp()
	w.nstr(e.MessageID, e.HasMessageID)
	w.byte(')')
}

// addresses writes a list of addresses, NIL if it is empty.
func (w *writer) addresses(list []message.Address) {
	if len(list) == 0 {
		w.raw("NIL")
		return
	}
	w.byte('(')
	for i := range list {
		w.address(&list[i])
	}
	w.byte(')')
}

// address writes one address. The begin of a group has its name as the mailbox
// and no host, its end has neither.
func (w *writer) address(a *message.Address) {
	switch a.Kind {
	case message.GroupStart:
		w.raw("(NIL NIL ")
		w.str(a.Mailbox)
		w.raw(" NIL)")
	case message.GroupEnd:
		w.raw("(NIL NIL NIL NIL)")
	default:
		w.byte('(')
		w.nstr(a.Name, a.Name != "")
		w.sp()
		w.nstr(a.Route, a.Route != "")
		w.sp()
		// NIL would make it a group.
		w.str(a.Mailbox)
		w.sp()
		w.str(a.Host)
		w.byte(')')
	}
}
