package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// uidOnlyExtension is UIDONLY (RFC 9586): a client that enables it never gets sequence numbers
// and may not use them. The command table marks the commands that use them.
func uidOnlyExtension(cfg *Config) extension {
	if !cfg.UIDOnly {
		return extension{}
	}
	return extension{
		caps: []imap.Cap{"UIDONLY"},
		enable: []enabler{{name: "UIDONLY", on: func(s *session) bool {
			was := s.uidOnly
			s.uidOnly = true
			return !was
		}, then: (*session).endNumbered}},
	}
}

// errUIDRequired refuses sequence numbers.
func errUIDRequired() error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Code: "UIDREQUIRED", Text: "Sequence numbers are not allowed after ENABLE UIDONLY."}
}

// fetchUIDResponse writes the beginning of a FETCH response with the item UID or, with UIDONLY, of
// a UIDFETCH response. sep is the separator before the next item.
func (s *session) fetchUIDResponse(m mailbox.Message) (sep byte) {
	if s.uidOnly {
		s.w.count(m.UID, " UIDFETCH ")
		return '('
	}
	s.w.count(m.Seq, " FETCH (UID ")
	s.w.Number(uint64(m.UID))
	return ' '
}
