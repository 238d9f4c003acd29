package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// replaceExtension is REPLACE (RFC 8508).
func replaceExtension() extension {
	return extension{
		caps: []imap.Cap{"REPLACE"},
		commands: []command{
			{name: "REPLACE", in: selected, news: allNews, numbers: true, run: bySeq((*session).replace)},
			{name: "UID REPLACE", in: selected, news: allNews, run: byUID((*session).replace)},
		},
	}
}

// replace is REPLACE and UID REPLACE. It saves the new message, then removes the old one.
// If saving fails, nothing has changed; if only the removal fails, both messages exist
// and nothing is lost.
func (s *session) replace(uid bool) (err error) {
	lx := s.lx
	lx.SP()
	set := lx.NumSet()
	lx.SP()
	name := lx.Mailbox()
	lx.SP()
	item, err := lx.appendItem()
	if err != nil {
		return err
	}
	old, err := s.oneMessage(set, uid)
	if err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	to, err := s.openIncoming(name)
	if err != nil {
		return err
	}
	defer func() { to.close(s, err) }()
	to.old = s.sel.view.Taken(old) // RFC 8508 section 3.4: "only the net quota consumption is considered"
	if err := item.take(s, to); err != nil {
		return err
	}
	if err := lx.End(); err != nil {
		return err
	}
	code, err := to.save(s)
	if err != nil {
		return err
	}
	s.done.tellAll = true
	// RFC 8508 section 3.4: before the EXPUNGE or VANISHED response.
	s.w.untagged("OK", code, "The new message is saved.")
	_, err = s.sel.view.Remove(s.ctx, old.UID)
	return err
}

// oneMessage returns the message of a set that must be a single number.
func (s *session) oneMessage(set syntax.NumSet, uid bool) (mailbox.Message, error) {
	if set.Saved || len(set.Ranges) != 1 || set.Ranges[0].First != set.Ranges[0].Last {
		return mailbox.Message{}, bad("Expected a single message.")
	}
	msgs, err := s.messages(set, uid)
	if err != nil {
		return mailbox.Message{}, err
	}
	for m := range msgs {
		return m, nil
	}
	return mailbox.Message{}, no(imap.ResponseCodeNonExistent, "No such message.")
}
