package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// uidOnlyExtension is UIDONLY (RFC 9586): a client that turns it on never hears
// of sequence numbers and may not use them. The commands that have them are
// marked in the table of commands.
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

// fetchResponse writes the beginning of a FETCH response, or of what the
// client gets instead.
func (s *session) fetchResponse(m mailbox.Message) {
	if s.uidOnly {
		s.count(m.UID, " UIDFETCH ")
	} else {
		s.count(m.Seq, " FETCH ")
	}
}

// fetchUIDResponse is fetchResponse with the UID as the first item, where it is
// not known already; sep is what the next item is to have before it.
func (s *session) fetchUIDResponse(m mailbox.Message) (sep byte) {
	s.fetchResponse(m)
	if s.uidOnly {
		return '('
	}
	s.w.Raw("(UID ")
	s.w.Number(uint64(m.UID))
	return ' '
}
