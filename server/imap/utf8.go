package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// utf8Extension is UTF8=ACCEPT (RFC 9755). Once enabled, strings and mailbox names are UTF-8 in
// both directions, as in IMAP4rev2, and SEARCH takes no charset. Headers are always sent as
// they are in the file.
//
// A client that has not enabled it may save messages with 8-bit header fields, too, although RFC
// 6855 section 4 wants NO: such mail exists, and programs like mbsync must be able to copy it.
func utf8Extension() extension {
	return extension{
		caps: []imap.Cap{imap.CapUTF8Accept},
		enable: []enabler{{name: imap.CapUTF8Accept, on: func(s *session) bool {
			was := s.utf8
			s.utf8 = true
			s.speakUTF8()
			return !was
		}}},
		appendData: words[appendItem]{"UTF8": (*lexer).appendUTF8},
	}
}

// appendUTF8 takes "(~{n}" of "UTF8 (~{n} ...)", which is in RFC 6855 but no longer in RFC
// 9755: clients may use either.
func (lx *lexer) appendUTF8(item *appendItem) {
	lx.startUTF8()
	if err := lx.appendLiteral(item); err != nil {
		lx.FailWith(err)
	}
	item.receive = func(s *session, to *destination, in *mailbox.Incoming) error {
		if err := s.receiveLiteral(to, in); err != nil {
			return err
		}
		s.lx.Expect(')')
		return s.lx.Err()
	}
}

// startUTF8 takes " (" before a literal8, which must follow.
func (lx *lexer) startUTF8() {
	if !lx.UTF8 {
		lx.Fail("UTF8 needs ENABLE UTF8=ACCEPT.")
	}
	lx.SP()
	lx.Expect('(')
	if lx.Peek() != '~' {
		lx.Fail("Expected a literal8.")
	}
}
