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

// The classes of octets of RFC 9051 section 9.
const (
	classAtom    = 1 << iota // ATOM-CHAR
	classAString             // ASTRING-CHAR
	classList                // list-char
	classWord                // of the names of commands and their items
	classTag
	classUnquoted // of strings without quotes, see AString
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

// IsWordChar tells whether an octet can be one of a name that Word takes.
func IsWordChar(c byte) bool { return classes[c]&classWord != 0 }

// IsAtom tells whether a text that is not empty can be sent as an atom.
func IsAtom(text string) bool {
	for i := range len(text) {
		if classes[text[i]]&classAtom == 0 {
			return false
		}
	}
	return true
}

// run takes the longest run of octets of a class, which may be empty.
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

// nonEmpty is run, and fails if there is nothing of the class.
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

// Word takes a name of the protocol (of a command, a FETCH item, a search key,
// an option) and gives it in upper case. It ends before '[', '<', ',' and ':'.
func (lx *Lexer) Word() []byte {
	b := lx.nonEmpty(classWord, "a word")
	for i, c := range b {
		b[i] = Upper(c)
	}
	return b
}

// PeekWord returns the word that comes next as it is written, without taking it;
// empty if none does.
func (lx *Lexer) PeekWord() []byte {
	word := lx.run(classWord)
	lx.pos -= len(word)
	return word
}

// Atom takes an atom.
func (lx *Lexer) Atom() []byte { return lx.AtomAs("an atom") }

// AtomAs is Atom; what says in the error what was expected, as in "a flag".
func (lx *Lexer) AtomAs(what string) []byte { return lx.nonEmpty(classAtom, what) }

// OptionalAtom takes an atom, or nothing if none is next.
func (lx *Lexer) OptionalAtom() []byte { return lx.run(classAtom) }

// Tag takes the tag of a command.
func (lx *Lexer) Tag() []byte { return lx.nonEmpty(classTag, "a tag") }

// Str takes a quoted string or a literal, in which NUL is an error.
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

// Quoted takes a quoted string. Octets above 127 are taken as they are.
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

// unquoted takes the rest of a quoted string whose first n octets have no
// backslash, and moves what follows a backslash to its place.
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

// AString takes an atom, which may hold ']', or a string. Against the grammar it may
// hold '%', '*' and '\' too, which have no other meaning here: offlineimap 8.0.0 quotes
// mailbox names for spaces only, others search for "50%", and Dovecot takes it.
func (lx *Lexer) AString() []byte {
	if c := lx.Peek(); c == '"' || c == '{' {
		return lx.Str()
	}
	return lx.nonEmpty(classUnquoted, "a string")
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

// Mailbox takes the name of a mailbox, an AString, and gives it in UTF-8. INBOX in
// any case gives "INBOX".
func (lx *Lexer) Mailbox() string {
	name := lx.MailboxAsGiven()
	if len(name) == len("INBOX") && EqualFold([]byte(name), "INBOX") {
		return "INBOX"
	}
	return name
}

// MailboxAsGiven is Mailbox with INBOX as the client wrote it.
func (lx *Lexer) MailboxAsGiven() string { return lx.mailboxName(lx.AString()) }

// mailboxName decodes what the client calls a mailbox.
func (lx *Lexer) mailboxName(b []byte) string {
	if lx.err != nil {
		return ""
	}
	name := string(b)
	if lx.UTF8 {
		if !utf8.ValidString(name) {
			lx.FailWith(&imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "Mailbox name is not valid UTF-8."})
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

// decodeName decodes a name in modified UTF-7. Characters beyond US-ASCII, which
// it cannot have, are taken as they are: go-imap's client sends UTF-8 as soon as
// IMAP4rev2 is announced.
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
			if r == utf8.RuneError {
				return "", errors.New("not valid UTF-8")
			}
			name.WriteRune(r)
			b = b[size:]
		}
	}
	return name.String(), nil
}

// ListMailbox takes a pattern of LIST as it is written; see PatternText.
func (lx *Lexer) ListMailbox() []byte {
	if c := lx.Peek(); c == '"' || c == '{' {
		return lx.Str()
	}
	return lx.nonEmpty(classList, "a mailbox pattern")
}

// PatternText decodes a pattern. What is no name in modified UTF-7 is kept: no
// mailbox matches it.
func (lx *Lexer) PatternText(b []byte) string {
	if !lx.UTF8 {
		if text, err := decodeName(b); err == nil {
			return text
		}
	}
	return string(b)
}

// Enter takes the '(' of a list that may hold lists. Call Leave behind it. Spaces
// inside of the parentheses are forgiven.
func (lx *Lexer) Enter() {
	lx.Expect('(')
	lx.spaces()
	if lx.depth++; lx.depth > lx.Limits.Depth {
		lx.Fail("Too many nested parentheses.")
	}
}

// Leave takes the ')' that belongs to Enter.
func (lx *Lexer) Leave() {
	lx.spaces()
	lx.Expect(')')
	lx.depth--
}

// List takes a list in parentheses with at least one member, each of which
// item takes.
func (lx *Lexer) List(item func()) {
	lx.Enter()
	item()
	for lx.More() && lx.Peek() != ')' {
		item()
	}
	lx.Leave()
}

// OptionalList is List, and may be empty: "()".
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

// EqualFold tells whether b is s but for the case of letters of US-ASCII.
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
