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

// fetchResponse writes the beginning of a FETCH response, or of a UIDFETCH
// response with UIDONLY.
func (s *session) fetchResponse(m mailbox.Message) {
	if s.uidOnly {
		s.count(m.UID, " UIDFETCH ")
	} else {
		s.count(m.Seq, " FETCH ")
	}
}

// fetchUIDResponse is fetchResponse followed by the item UID, which UIDFETCH already begins
// with. sep is the separator before the next item.
func (s *session) fetchUIDResponse(m mailbox.Message) (sep byte) {
	s.fetchResponse(m)
	if s.uidOnly {
		return '('
	}
	s.w.Raw("(UID ")
	s.w.Number(uint64(m.UID))
	return ' '
}
