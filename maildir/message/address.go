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
	for len(list) < maxAddresses {
		s.space()
		switch {
		case s.done():
			if group {
				list = append(list, Address{Kind: GroupEnd})
			}
			return list
		case s.accept(','):
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
	return list
}

// address reads one address, or the begin of a group.
func (s *scanner) address() Address {
	s.comment = ""
	phrase, local := s.phrase()
	s.space()
	switch s.peek() {
	case ':':
		s.pos++
		return Address{Kind: GroupStart, Mailbox: phrase}
	case '<':
		s.pos++
		a := s.angle()
		a.Name = phrase
		if a.Name == "" {
			s.space()
			a.Name = s.comment
		}
		return a
	case '@':
		s.pos++
		a := Address{Mailbox: local, Host: s.domain()}
		s.space()
		a.Name = s.comment
		return a.complete()
	}
	if s.pos == 0 || phrase == "" && local == "" {
		s.pos++ // something that has no place here: do not stand still
	}
	a := Address{Mailbox: local}
	a.Name = s.comment
	return a.complete()
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
// part they are not.
func (s *scanner) phrase() (phrase, local string) {
	var p, l strings.Builder
	dot := false
	for {
		at := s.pos
		s.space()
		var w string
		switch c := s.peek(); {
		case c == '"':
			w = s.quoted()
		case c == '.':
			s.pos++
			w = "."
		case isAtom(c):
			w = s.while(isAtom)
		default:
			return p.String(), l.String()
		}
		if p.Len() > 0 && s.pos > at && (w != "." && !dot || s.text[at] == ' ' || s.text[at] == '\t') {
			p.WriteByte(' ')
		}
		dot = w == "."
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
	_, a.Mailbox = s.phrase()
	s.space()
	if s.accept('@') {
		a.Host = s.domain()
	}
	s.until(">")
	s.accept('>')
	return a.complete()
}

// domain reads a domain or a domain literal.
func (s *scanner) domain() string {
	var b strings.Builder
	for {
		s.space()
		switch c := s.peek(); {
		case c == '[':
			b.WriteString(s.until("]"))
			if s.accept(']') {
				b.WriteByte(']')
			}
		case c == '.' || isAtom(c):
			b.WriteString(s.while(func(c byte) bool { return c == '.' || isAtom(c) }))
		default:
			return b.String()
		}
	}
}
