package imap

import (
	"errors"
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
	classMailbox // of mailbox names without quotes, see mailbox
)

var classes = func() (t [256]uint8) {
	for c := byte(0x21); c < 0x7f; c++ {
		switch c {
		case '(', ')', '{', '"':
		case '\\':
			t[c] = classMailbox
		case '%', '*':
			t[c] = classList | classMailbox
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
			t[c] |= classMailbox
		}
	}
	return t
}()

// run takes the longest run of octets of a class, which may be empty.
func (lx *lexer) run(class uint8) []byte {
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
func (lx *lexer) nonEmpty(class uint8, what string) []byte {
	b := lx.run(class)
	if len(b) == 0 {
		if lx.err == nil && lx.atEnd() {
			lx.fail("Missing arguments.")
		} else {
			lx.fail("Expected %s.", what)
		}
		return nil
	}
	return b
}

// word takes a name of the protocol (of a command, a FETCH item, a search key,
// an option) and gives it in upper case. It ends before '[', '<', ',' and ':'.
func (lx *lexer) word() []byte {
	b := lx.nonEmpty(classWord, "a word")
	for i, c := range b {
		b[i] = upper(c)
	}
	return b
}

// atom takes an atom.
func (lx *lexer) atom() []byte { return lx.nonEmpty(classAtom, "an atom") }

// tag takes the tag of a command.
func (lx *lexer) tag() []byte { return lx.nonEmpty(classTag, "a tag") }

// str takes a quoted string or a literal.
func (lx *lexer) str() []byte {
	switch lx.peek() {
	case '"':
		return lx.quoted()
	case '{':
		lit, ok := lx.literalHeader()
		if !ok {
			return nil
		}
		b := lx.readLiteral()
		for _, c := range b {
			if c == 0 && !lit.binary {
				lx.fail("NUL in a literal.")
				return nil
			}
		}
		return b
	}
	if lx.err == nil && lx.atEnd() {
		lx.fail("Missing arguments.")
	}
	lx.fail("Expected a string.")
	return nil
}

// quoted takes a quoted string. Octets above 127 are taken as they are.
func (lx *lexer) quoted() []byte {
	lx.expect('"')
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
			lx.fail("Quoted string without an end.")
			return nil
		case 0:
			lx.fail("NUL in a quoted string.")
			return nil
		}
	}
}

// unquoted takes the rest of a quoted string whose first n octets have no
// backslash, and moves what follows a backslash to its place.
func (lx *lexer) unquoted(n int) []byte {
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
				lx.fail("Only \" and \\ may follow a backslash.")
				return nil
			}
		case '\r', '\n':
			lx.fail("Quoted string without an end.")
			return nil
		case 0:
			lx.fail("NUL in a quoted string.")
			return nil
		}
		lx.buf[lx.pos+to] = c
		to++
	}
}

// astring takes an atom, which may hold ']', or a string.
func (lx *lexer) astring() []byte {
	if c := lx.peek(); c == '"' || c == '{' {
		return lx.str()
	}
	return lx.nonEmpty(classAString, "a string")
}

// nstring takes NIL or a string.
func (lx *lexer) nstring() (b []byte, isNil bool) {
	if c := lx.peek(); c == '"' || c == '{' {
		return lx.str(), false
	}
	if string(lx.word()) != "NIL" {
		lx.fail("Expected a string or NIL.")
		return nil, false
	}
	return nil, lx.err == nil
}

// mailbox takes the name of a mailbox and gives it in UTF-8. INBOX in any case
// gives "INBOX". Names without quotes may hold the characters '%', '*' and '\',
// against the grammar: offlineimap 8.0.0 quotes nothing but spaces, and Dovecot
// takes it.
func (lx *lexer) mailbox() string {
	name := lx.mailboxAsGiven()
	if len(name) == len("INBOX") && equalFold([]byte(name), "INBOX") {
		return "INBOX"
	}
	return name
}

// mailboxAsGiven is mailbox with INBOX as the client wrote it.
func (lx *lexer) mailboxAsGiven() string {
	if c := lx.peek(); c == '"' || c == '{' {
		return lx.mailboxName(lx.str())
	}
	return lx.mailboxName(lx.nonEmpty(classMailbox, "a string"))
}

// mailboxName decodes what the client calls a mailbox.
func (lx *lexer) mailboxName(b []byte) string {
	if lx.err != nil {
		return ""
	}
	name := string(b)
	if lx.utf8 {
		if !utf8.ValidString(name) {
			lx.failWith(no(imap.ResponseCodeCannot, "Mailbox name is not valid UTF-8."))
			return ""
		}
	} else {
		text, err := decodeName(b)
		if err != nil {
			lx.failWith(no(imap.ResponseCodeCannot, "Mailbox name is %s.", err))
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
		n := asciiRun(b)
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

// listMailbox takes a pattern of LIST as it is written.
func (lx *lexer) listMailbox() []byte {
	if c := lx.peek(); c == '"' || c == '{' {
		return lx.str()
	}
	return lx.nonEmpty(classList, "a mailbox pattern")
}

// enter takes the '(' of a list that may hold lists. Call leave behind it.
func (lx *lexer) enter() {
	lx.expect('(')
	if lx.depth++; lx.depth > lx.limits.depth {
		lx.failWith(bad("Too many nested parentheses."))
	}
}

// leave takes the ')' that belongs to enter.
func (lx *lexer) leave() {
	lx.expect(')')
	lx.depth--
}

// list takes a list in parentheses with at least one member, each of which
// item takes.
func (lx *lexer) list(item func()) {
	lx.enter()
	item()
	for lx.more() && lx.peek() != ')' {
		item()
	}
	lx.leave()
}

// optionalList is list, and may be empty: "()".
func (lx *lexer) optionalList(item func()) {
	lx.enter()
	for lx.accept(' ') {
	}
	for lx.err == nil && lx.peek() != ')' {
		item()
		if !lx.more() {
			break
		}
	}
	lx.leave()
}

// equalFold tells whether b is s but for the case of letters of US-ASCII.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if upper(c) != upper(s[i]) {
			return false
		}
	}
	return true
}
