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

// AppendAddresses appends the addresses of a field as people read them, a name before
// its address: Anna <anna@example.org>, bob@example.org.
func AppendAddresses(dst, value []byte) []byte {
	for i, a := range parseAddresses(nil, unfold(value)) {
		if i > 0 && a.Kind != GroupEnd {
			dst = append(dst, ", "...)
		}
		switch {
		case a.Kind == GroupStart:
			dst = append(append(dst, DecodeHeader(a.Mailbox)...), ':')
		case a.Kind == GroupEnd:
			dst = append(dst, ';')
		case a.Name == "":
			dst = append(append(append(dst, a.Mailbox...), '@'), a.Host...)
		default:
			dst = append(append(dst, DecodeHeader(a.Name)...), " <"...)
			dst = append(append(append(append(dst, a.Mailbox...), '@'), a.Host...), '>')
		}
	}
	return dst
}

// firstAddress reads what parseAddresses has first; ok is false for an empty list.
func firstAddress(text string) (a Address, ok bool) {
	s := &scanner{text: text}
	for s.space(); !s.done(); s.space() {
		if !s.accept(',') && !s.accept(':') && !s.accept(';') {
			return s.address(), true
		}
	}
	return Address{}, false
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
	p, l := words{in: s.text}, words{in: s.text}
	dot := true
	for {
		at := s.pos
		s.space()
		from := s.pos
		var w string
		isDot := false
		switch c := s.peek(); {
		case c == '"':
			w = s.quoted()
			from++
		case c == '.':
			s.pos++
			w, isDot = ".", true
		case atoms[c]:
			w = s.run(&atoms)
		default:
			return p.text(), l.text(), several
		}
		space := ""
		if !p.empty() && (!isDot && !dot || s.text[at] == ' ' || s.text[at] == '\t') {
			space = " "
		}
		several = several || !isDot && !dot
		dot = isDot
		p.add(space, w, from)
		l.add("", w, from)
	}
}

// words is text that is put together of words. As long as that is a piece of the
// text that they stand in, it is not copied.
type words struct {
	in       string
	from, to int // the piece
	copied   []byte
}

func (w *words) empty() bool { return w.from == w.to && len(w.copied) == 0 }

// add adds a word that stands in the text at from, if it does.
func (w *words) add(space, word string, from int) {
	if word == "" && space == "" {
		return
	}
	if w.copied == nil && strings.HasPrefix(w.in[from:], word) {
		if w.from == w.to {
			w.from, w.to = from, from+len(word)
			return
		}
		if w.in[w.to:from] == space {
			w.to = from + len(word)
			return
		}
	}
	if w.copied == nil {
		w.copied = append(make([]byte, 0, 64), w.in[w.from:w.to]...)
	}
	w.copied = append(append(w.copied, space...), word...)
}

func (w *words) text() string {
	if w.copied != nil {
		return string(w.copied)
	}
	return w.in[w.from:w.to]
}

// octets is a set of octets.
type octets [256]bool

// allBut is all octets but those, white space and control characters.
func allBut(specials string) (set octets) {
	for c := range set {
		set[c] = c > ' ' && c != 0x7f && strings.IndexByte(specials, byte(c)) < 0
	}
	return set
}

// atoms is what words are made of, with all octets beyond ASCII.
var atoms = allBut(`()<>[]:;@\,."`)

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
	s.space()
	from := s.pos
	if s.peek() == '[' {
		s.until("]")
		s.accept(']')
		return s.text[from:s.pos]
	}
	d := words{in: s.text}
	for {
		from = s.pos
		d.add("", s.run(&atoms), from)
		before := s.pos
		s.space()
		from = s.pos
		if !s.accept('.') {
			if d.empty() {
				s.pos = before
			}
			return d.text()
		}
		d.add("", ".", from)
		s.space()
	}
}
