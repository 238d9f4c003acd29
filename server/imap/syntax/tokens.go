package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
)

// Character classes of RFC 9051 section 9.
const (
	classAtom    = 1 << iota // ATOM-CHAR
	classAString             // ASTRING-CHAR
	classList                // list-char
	classWord                // in names of commands and their items
	classTag
	classUnquoted // in strings without quotes, see AString
)

var classes = func() (t [256]uint8) {
	for c := byte(0x21); c < 0x7f; c++ {
		switch c {
		case '(', ')', '{', '"':
		case '\\':
			t[c] = classUnquoted
		case '%', '*':
			t[c] = classList | classUnquoted
		case ']':
			t[c] = classAString | classList | classTag
		case '[', '<', '>', ',', ':':
			t[c] = classAtom | classAString | classList | classTag
		case '+':
			t[c] = classAtom | classAString | classList | classWord
		default:
			t[c] = classAtom | classAString | classList | classWord | classTag
		}
		if t[c]&classAString != 0 {
			t[c] |= classUnquoted
		}
	}
	return t
}()

// IsWordChar reports whether an octet can be part of a name that Word takes.
func IsWordChar(c byte) bool { return classes[c]&classWord != 0 }

// IsAtom reports whether text, which must not be empty, can be sent as an atom.
func IsAtom(text string) bool {
	for i := range len(text) {
		if classes[text[i]]&classAtom == 0 {
			return false
		}
	}
	return true
}

// run takes the longest run of octets of a class. It may be empty.
func (lx *Lexer) run(class uint8) []byte {
	n := 0
	for {
		if lx.err != nil {
			return nil
		}
		for lx.pos+n < len(lx.buf) {
			if classes[lx.buf[lx.pos+n]]&class == 0 {
				b := lx.buf[lx.pos : lx.pos+n : lx.pos+n]
				lx.pos += n
				return b
			}
			n++
		}
		lx.ensure(n + 1)
	}
}

// nonEmpty is run, but fails if the run is empty.
func (lx *Lexer) nonEmpty(class uint8, what string) []byte {
	b := lx.run(class)
	if len(b) == 0 {
		if lx.err == nil && lx.atEnd() {
			lx.Fail("Missing arguments.")
		} else {
			lx.Fail("Expected %s.", what)
		}
		return nil
	}
	return b
}

// Word takes a name of the protocol (a command, a FETCH item, a search key, an option) and
// returns it in upper case. It ends before '[', '<', ',' and ':'.
func (lx *Lexer) Word() []byte {
	b := lx.nonEmpty(classWord, "a word")
	for i, c := range b {
		b[i] = Upper(c)
	}
	return b
}

// PeekWord returns the next word as it is written, without taking it, or an empty one
// if there is none.
func (lx *Lexer) PeekWord() []byte {
	word := lx.run(classWord)
	lx.pos -= len(word)
	return word
}

// Atom takes an atom.
func (lx *Lexer) Atom() []byte { return lx.AtomAs("an atom") }

// AtomAs is Atom with what, such as "a flag", as the name of the atom in the error.
func (lx *Lexer) AtomAs(what string) []byte { return lx.nonEmpty(classAtom, what) }

// OptionalAtom takes an atom, if one is next.
func (lx *Lexer) OptionalAtom() []byte { return lx.run(classAtom) }

// Tag takes the tag of a command.
func (lx *Lexer) Tag() []byte { return lx.nonEmpty(classTag, "a tag") }

// Str takes a quoted string or a literal. NUL is an error in both.
func (lx *Lexer) Str() []byte {
	switch lx.Peek() {
	case '"':
		return lx.Quoted()
	case '{':
		lx.LiteralHeader()
		b := lx.ReadLiteral()
		if bytes.IndexByte(b, 0) >= 0 {
			lx.Fail("NUL in a literal.")
			return nil
		}
		return b
	}
	if lx.err == nil && lx.atEnd() {
		lx.Fail("Missing arguments.")
	}
	lx.Fail("Expected a string.")
	return nil
}

// Quoted takes a quoted string. Octets above 127 are accepted unchanged.
func (lx *Lexer) Quoted() []byte {
	lx.Expect('"')
	for n := 0; ; n++ {
		if !lx.ensure(n + 1) {
			return nil
		}
		switch lx.buf[lx.pos+n] {
		case '"':
			b := lx.buf[lx.pos : lx.pos+n : lx.pos+n]
			lx.pos += n + 1
			return b
		case '\\':
			return lx.unquoted(n)
		case '\r', '\n':
			lx.Fail("Unterminated quoted string.")
			return nil
		case 0:
			lx.Fail("NUL in a quoted string.")
			return nil
		}
	}
}

// unquoted takes the rest of a quoted string whose first n octets contain no backslash, and
// removes backslashes from the rest.
func (lx *Lexer) unquoted(n int) []byte {
	to := n
	for ; ; n++ {
		if !lx.ensure(n + 2) { // a quoted string is never the end of a command
			return nil
		}
		c := lx.buf[lx.pos+n]
		switch c {
		case '"':
			b := lx.buf[lx.pos : lx.pos+to : lx.pos+to]
			lx.pos += n + 1
			return b
		case '\\':
			n++
			c = lx.buf[lx.pos+n]
			if c != '"' && c != '\\' {
				lx.Fail("Only \" and \\ may follow a backslash.")
				return nil
			}
		case '\r', '\n':
			lx.Fail("Unterminated quoted string.")
			return nil
		case 0:
			lx.Fail("NUL in a quoted string.")
			return nil
		}
		lx.buf[lx.pos+to] = c
		to++
	}
}

// AString takes a string or an atom, which may contain ']'. Beyond the grammar, the atom may
// also contain '%', '*' and '\', which are unambiguous here: offlineimap 8.0.0 quotes mailbox
// names only because of spaces, other clients search for "50%", and Dovecot accepts it.
func (lx *Lexer) AString() []byte {
	if c := lx.Peek(); c == '"' || c == '{' {
		return lx.Str()
	}
	return lx.unquotedString(classUnquoted, "a string")
}

// unquotedString is nonEmpty where a quoted string, which may contain UTF-8 (RFC 9051 section 9),
// would be accepted too.
func (lx *Lexer) unquotedString(class uint8, what string) []byte {
	b := lx.run(class)
	if lx.Peek() >= utf8.RuneSelf {
		lx.Fail("Text beyond US-ASCII must be quoted.")
		return nil
	}
	if len(b) == 0 {
		return lx.nonEmpty(class, what) // fails
	}
	return b
}

// NString takes NIL or a string.
func (lx *Lexer) NString() (b []byte, isNil bool) {
	if c := lx.Peek(); c == '"' || c == '{' {
		return lx.Str(), false
	}
	if string(lx.Word()) != "NIL" {
		lx.Fail("Expected a string or NIL.")
		return nil, false
	}
	return nil, lx.err == nil
}

// Mailbox takes a mailbox name, an AString, and returns it in UTF-8. INBOX is
// returned in upper case.
func (lx *Lexer) Mailbox() string {
	name := lx.MailboxAsGiven()
	if len(name) == len("INBOX") && EqualFold([]byte(name), "INBOX") {
		return "INBOX"
	}
	return name
}

// MailboxAsGiven is Mailbox, but leaves the case of INBOX as the client wrote it.
func (lx *Lexer) MailboxAsGiven() string { return lx.mailboxName(lx.AString()) }

// mailboxName decodes a mailbox name.
func (lx *Lexer) mailboxName(b []byte) string {
	if lx.err != nil {
		return ""
	}
	name := string(b)
	if lx.UTF8 {
		if !utf8.ValidString(name) {
			lx.Fail("Mailbox name is not valid UTF-8.") // BAD by RFC 9755 section 3
			return ""
		}
	} else {
		text, err := decodeName(b)
		if err != nil {
			lx.FailWith(&imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: fmt.Sprintf("Mailbox name is %s.", err)})
			return ""
		}
		name = text
	}
	return name
}

// decodeName decodes a name in modified UTF-7. It also accepts characters beyond
// US-ASCII, which modified UTF-7 does not allow: go-imap's client sends UTF-8 as soon
// as IMAP4rev2 is announced.
func decodeName(b []byte) (string, error) {
	var name strings.Builder
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] < utf8.RuneSelf {
			n++
		}
		text, err := folder.DecodeUTF7(string(b[:n]))
		if err != nil {
			return "", err
		}
		name.WriteString(text)
		for b = b[n:]; len(b) > 0 && b[0] >= utf8.RuneSelf; {
			r, size := utf8.DecodeRune(b)
			if r == utf8.RuneError && size == 1 {
				return "", errors.New("not valid UTF-8")
			}
			name.WriteRune(r)
			b = b[size:]
		}
	}
	return name.String(), nil
}

// ListMailbox takes a LIST pattern without decoding it; see PatternText.
func (lx *Lexer) ListMailbox() []byte {
	if c := lx.Peek(); c == '"' || c == '{' {
		return lx.Str()
	}
	return lx.unquotedString(classList, "a mailbox pattern")
}

// PatternText decodes a LIST pattern. It leaves a text unchanged that is not valid modified
// UTF-7, which no mailbox matches.
func (lx *Lexer) PatternText(b []byte) string {
	if lx.UTF8 {
		if !utf8.Valid(b) {
			lx.Fail("Mailbox pattern is not valid UTF-8.")
		}
		return string(b)
	}
	if text, err := decodeName(b); err == nil {
		return text
	}
	return string(b)
}

// Enter takes the '(' of a list that may contain lists. Leave must be called at its end. Spaces
// after '(' and before ')' are accepted.
func (lx *Lexer) Enter() {
	lx.Expect('(')
	lx.spaces()
	if lx.depth++; lx.depth > lx.Limits.Depth {
		lx.Fail("Too many nested parentheses.")
	}
}

// Leave takes the ')' that matches Enter.
func (lx *Lexer) Leave() {
	lx.spaces()
	lx.Expect(')')
	lx.depth--
}

// List takes a list in parentheses with at least one member. It calls item to take each member.
func (lx *Lexer) List(item func()) {
	lx.Enter()
	item()
	for lx.More() && lx.Peek() != ')' {
		item()
	}
	lx.Leave()
}

// OptionalList is List, but accepts an empty list: "()".
func (lx *Lexer) OptionalList(item func()) {
	lx.Enter()
	for lx.err == nil && lx.Peek() != ')' {
		item()
		if !lx.More() {
			break
		}
	}
	lx.Leave()
}

// EqualFold reports whether b and s are equal, ignoring the case of US-ASCII letters.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if Upper(c) != Upper(s[i]) {
			return false
		}
	}
	return true
}
