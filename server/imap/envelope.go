package imap

import "maildird/maildir/message"

// envelope writes an ENVELOPE (RFC 9051 section 7.5.2). The strings are the
// text of the header as it stands there, encoded words and all.
func (w *writer) envelope(e *message.Envelope) {
	w.Byte('(')
	w.NString(e.Date, e.HasDate)
	w.SP()
	w.NString(e.Subject, e.HasSubject)
	for _, list := range [...][]message.Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		w.SP()
		w.addresses(list)
	}
	w.SP()
	w.NString(e.InReplyTo, e.HasInReplyTo)
	w.SP()
	w.NString(e.MessageID, e.HasMessageID)
	w.Byte(')')
}

// addresses writes a list of addresses, NIL if it is empty.
func (w *writer) addresses(list []message.Address) {
	if len(list) == 0 {
		w.Raw("NIL")
		return
	}
	w.Byte('(')
	for i := range list {
		w.address(&list[i])
	}
	w.Byte(')')
}

// address writes one address. The begin of a group has its name as the mailbox
// and no host, its end has neither.
func (w *writer) address(a *message.Address) {
	switch a.Kind {
	case message.GroupStart:
		w.Raw("(NIL NIL ")
		w.Str(a.Mailbox)
		w.Raw(" NIL)")
	case message.GroupEnd:
		w.Raw("(NIL NIL NIL NIL)")
	default:
		w.Byte('(')
		w.NString(a.Name, a.Name != "")
		w.SP()
		w.NString(a.Route, a.Route != "")
		w.SP()
		// NIL would make it a group.
		w.Str(a.Mailbox)
		w.SP()
		w.Str(a.Host)
		w.Byte(')')
	}
}
