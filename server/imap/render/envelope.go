// Package render writes what FETCH returns of the header and the parts of a message: ENVELOPE,
// BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2).
//
// The cache keeps its output: when that changes, cache.Format must change, too.
package render

import (
	"maildird/maildir/message"
	"maildird/server/imap/syntax"
)

// Envelope writes an ENVELOPE (RFC 9051 section 7.5.2). The strings are the text of the header
// as it is, including encoded words.
func Envelope(w *syntax.Writer, e *message.Envelope) {
	w.Byte('(')
	w.NString(e.Date, e.HasDate)
	w.SP()
	w.NString(e.Subject, e.HasSubject)
	for _, list := range [...][]message.Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		w.SP()
		addresses(w, list)
	}
	w.SP()
	w.NString(e.InReplyTo, e.HasInReplyTo)
	w.SP()
	w.NString(e.MessageID, e.HasMessageID)
	w.Byte(')')
}

// addresses writes a list of addresses, NIL if it is empty.
func addresses(w *syntax.Writer, list []message.Address) {
	if len(list) == 0 {
		w.Raw("NIL")
		return
	}
	w.Byte('(')
	for i := range list {
		address(w, &list[i])
	}
	w.Byte(')')
}

// address writes an address. The start of a group has the group name as the mailbox and no
// host; the end of a group has neither.
func address(w *syntax.Writer, a *message.Address) {
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
