package message

import "strings"

// Kind tells an address from the marks that begin and end a group.
type Kind uint8

// The kinds of Address.
const (
	Addr Kind = iota
	GroupStart
	GroupEnd
)

// Address is one address of a header field. Texts are as they stand there,
// without quotes; encoded words are not decoded.
type Address struct {
	Kind    Kind
	Name    string
	Route   string // "@a,@b", obsolete
	Mailbox string // the name of a group, for GroupStart
	Host    string
}

// What stands in for the parts of an address that are missing: IMAP has other
// uses for NIL there.
const (
	MissingMailbox = "MISSING_MAILBOX"
	MissingDomain  = "MISSING_DOMAIN"
)

// maxAddresses bounds the addresses of one message's envelope.
const maxAddresses = 10_000

// parseAddresses reads an address list (RFC 5322 section 3.4 and obsolete
// forms) and appends to list. Every text gives some list.
func parseAddresses(list []Address, text string) []Address {
	s := &scanner{text: text}
	group := false
	for s.space(); !s.done() && len(list) < maxAddresses; s.space() {
		switch {
		case s.accept(','), s.accept(':'):
		case s.accept(';'):
			if group {
				list = append(list, Address{Kind: GroupEnd})
				group = false
			}
		default:
			a := s.address()
			if a.Kind == GroupStart {
				if group { // groups do not nest
					list = append(list, Address{Kind: GroupEnd})
				}
				group = true
			}
			list = append(list, a)
		}
	}
	if group {
		list = append(list, Address{Kind: GroupEnd})
	}
	return list
}

// address reads one address, or the begin of a group, and passes over what
// stands behind it and has no place there.
func (s *scanner) address() Address {
	s.comment = ""
	phrase, local, several := s.phrase()
	s.space()
	var a Address
	switch s.peek() {
	case ':':
		s.pos++
		return Address{Kind: GroupStart, Mailbox: phrase}
	case '<':
		s.pos++
		a = s.angle()
		a.Name = phrase
	case '@':
		s.pos++
		a = Address{Mailbox: local, Host: s.domain()}
	default:
		if several { // words are a name, and not the mailbox of somebody
			a.Name = phrase
		} else {
			a.Mailbox = local
		}
	}
	s.space()
	if a.Name == "" {
		a.Name = s.comment
	}
	s.untilNext()
	return a.complete()
}

// untilNext passes over all that is no separator of addresses.
func (s *scanner) untilNext() {
	for !s.done() {
		switch s.peek() {
		case ',', ';', ':':
			return
		case '(':
			s.inParentheses()
		case '"':
			s.quoted()
		default:
			s.pos++
		}
	}
}

func (a Address) complete() Address {
	if a.Mailbox == "" {
		a.Mailbox = MissingMailbox
	}
	if a.Host == "" {
		a.Host = MissingDomain
	}
	return a
}

// phrase reads words: as a phrase they are separated by a space, as a local
// part they are not. several tells that they cannot be a local part, because no
// dot is between two of them (RFC 5322 sections 3.4.1 and 4.4).
func (s *scanner) phrase() (phrase, local string, several bool) {
	var p, l strings.Builder
	dot := true
	for {
		at := s.pos
		s.space()
		var w string
		isDot := false
		switch c := s.peek(); {
		case c == '"':
			w = s.quoted()
		case c == '.':
			s.pos++
			w, isDot = ".", true
		case isAtom(c):
			w = s.while(isAtom)
		default:
			return p.String(), l.String(), several
		}
		if p.Len() > 0 && (!isDot && !dot || s.text[at] == ' ' || s.text[at] == '\t') {
			p.WriteByte(' ')
		}
		several = several || !isDot && !dot
		dot = isDot
		p.WriteString(w)
		l.WriteString(w)
	}
}

// isAtom is true for what words are made of, with all octets beyond ASCII.
func isAtom(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}

// angle reads "<route:local@domain>" after its "<".
func (s *scanner) angle() Address {
	var a Address
	s.space()
	if s.peek() == '@' {
		a.Route = strings.Join(strings.Fields(s.until(":>")), "")
		s.accept(':')
	}
	_, a.Mailbox, _ = s.phrase()
	s.space()
	if s.accept('@') {
		a.Host = s.domain()
	}
	s.until(">")
	s.accept('>')
	return a
}

// domain reads a domain or a domain literal. White space and comments may stand
// around its dots (RFC 5322 section 4.4) and end it elsewhere.
func (s *scanner) domain() string {
	var b strings.Builder
	s.space()
	if s.peek() == '[' {
		b.WriteString(s.until("]"))
		if s.accept(']') {
			b.WriteByte(']')
		}
		return b.String()
	}
	for {
		b.WriteString(s.while(isAtom))
		before := s.pos
		s.space()
		if !s.accept('.') {
			if b.Len() == 0 {
				s.pos = before
			}
			return b.String()
		}
		b.WriteByte('.')
		s.space()
	}
}
