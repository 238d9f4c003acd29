package imap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/maildir/message"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/search"
	"maildird/server/imap/syntax"
)

// objectIDExtension is OBJECTID (RFC 8474). MAILBOXID is derived from the GUID of the mailbox
// in dovecot-uidlist, EMAILID from the GUID of the message there, and THREADID from the
// Message-ID of the message that began the conversation.
func objectIDExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapObjectID},
		statusItems: []statusItem{{
			name: "MAILBOXID",
			begin: func(st *mailboxStatus) (err error) {
				st.id, err = st.box.ID(st.s.ctx)
				return err
			},
			write: func(st *mailboxStatus) { st.s.w.Raw("(F" + st.id + ")") },
		}},
		fetchItems: words[fetchItems]{
			"EMAILID":  func(_ *lexer, items *fetchItems) { items.addAttr(&emailIDAttr{}) },
			"THREADID": func(_ *lexer, items *fetchItems) { items.addAttr(&threadIDAttr{}) },
		},
		searchKeys: searchWords{
			"EMAILID": objectIDKey("EMAILID", search.CostNothing, func(c *search.Candidate) (string, error) {
				return emailID(c.View.GUID(c.Message)), nil
			}),
			"THREADID": objectIDKey("THREADID", search.CostHeader, func(c *search.Candidate) (string, error) {
				return threadID(c.File, c.View.GUID(c.Message))
			}),
		},
		selected: func(s *session) {
			id, err := s.sel.box.IDOf(s.ctx, s.sel.view)
			if errors.Is(err, mailbox.ErrReplaced) {
				return // the client is told at the end of the command
			}
			if err != nil {
				s.log.Warn("mailbox has no MAILBOXID", "mailbox", s.sel.name, "error", err)
				return
			}
			s.w.untagged("OK", mailboxID(id), "Mailbox identifier.")
		},
		created: func(s *session, name string) error {
			box, err := s.open(name)
			if err != nil {
				return err
			}
			defer box.Release()
			id, err := box.ID(s.ctx)
			if err == nil {
				s.done.code = mailboxID(id)
			}
			return err
		},
	}
}

func mailboxID(id string) string { return "MAILBOXID (F" + id + ")" }

// emailID hashes a GUID, which could reveal facts about the server, such as its name.
func emailID(guid string) string { return "M" + objectHash(guid) }

// threadID returns an ID derived from the oldest message that the header refers to. A message
// without a Message-ID that refers to no other is a thread of its own.
func threadID(mf *mailfile.File, guid string) (string, error) {
	head, err := mf.Header()
	if err != nil {
		return "", err
	}
	for _, field := range []string{"References", "In-Reply-To", "Message-ID"} {
		value, _ := message.Field(head, field)
		if ids := message.MessageIDs(value); len(ids) > 0 {
			return "T" + objectHash(ids[0]), nil
		}
	}
	return "T" + objectHash("\x00"+guid), nil
}

func objectHash(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}

// emailIDAttr is the FETCH item EMAILID.
type emailIDAttr struct{ id string }

func (*emailIDAttr) name() string     { return "EMAILID" }
func (*emailIDAttr) needs() fetchNeed { return needNothing }

func (a *emailIDAttr) prepare(s *session, m mailbox.Message, _ *mailfile.File) error {
	a.id = emailID(s.sel.view.GUID(m))
	return nil
}

func (a *emailIDAttr) write(w *writer) { w.Raw("(" + a.id + ")") }

// threadIDAttr is the FETCH item THREADID.
type threadIDAttr struct{ id string }

func (*threadIDAttr) name() string     { return "THREADID" }
func (*threadIDAttr) needs() fetchNeed { return needHeader }

func (a *threadIDAttr) prepare(s *session, m mailbox.Message, mf *mailfile.File) (err error) {
	a.id, err = threadID(mf, s.sel.view.GUID(m))
	return err
}

func (a *threadIDAttr) write(w *writer) { w.Raw("(" + a.id + ")") }

// objectIDKey returns the parser of a search key with one identifier, which is case-sensitive.
func objectIDKey(name string, cost search.Cost, of func(*search.Candidate) (string, error)) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		p.SP()
		want := string(p.Atom())
		if !isObjectID(want) {
			p.Fail("Expected an object identifier.")
		}
		return search.Key{Op: search.Extension, Extension: &search.ExtensionKey{Name: name, Cost: cost, Matches: func(c *search.Candidate) (bool, error) {
			id, err := of(c)
			return id == want, err
		}}}
	}
}

// isObjectID reports whether a text is an objectid (RFC 8474 section 7).
func isObjectID(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (syntax.Upper(c) < 'A' || syntax.Upper(c) > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return len(text) <= 255
}
