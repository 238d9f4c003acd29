package message

import "strings"

// Kind distinguishes addresses from the markers that start and end a group.
type Kind uint8

// The kinds of Address.
const (
	Addr Kind = iota
	GroupStart
	GroupEnd
)

// Address is one address of a header field. Its texts are as in the field, without quotes;
// encoded words are not decoded.
type Address struct {
	Kind    Kind
	Name    string
	Route   string // "@a,@b", obsolete
	Mailbox string // the name of a group, for GroupStart
	Host    string
}

// Placeholders for missing parts of an address: NIL has other meanings there in IMAP.
const (
	MissingMailbox = "MISSING_MAILBOX"
	MissingDomain  = "MISSING_DOMAIN"
)

// maxAddresses limits the number of entries in each address list of an envelope.
const maxAddresses = 10_000

// parseAddresses parses an address list (RFC 5322 section 3.4 and obsolete forms) and
// appends the addresses to list. Any text yields some list.
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

// AppendAddresses appends the addresses of a field in the form in which people read them,
// with names before addresses: Anna <anna@example.org>, bob@example.org.
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

// firstAddress returns the first address that parseAddresses would return; ok is false for
// an empty list.
func firstAddress(text string) (a Address, ok bool) {
	s := &scanner{text: text}
	for s.space(); !s.done(); s.space() {
		if !s.accept(',') && !s.accept(':') && !s.accept(';') {
			return s.address(), true
		}
	}
	return Address{}, false
}

// address parses one address, or the start of a group, and skips anything after it that
// does not belong there.
func (s *scanner) address() Address {
	s.comment = ""
	phrase := s.phrase()
	s.space()
	var a Address
	switch s.peek() {
	case ':':
		s.pos++
		return Address{Kind: GroupStart, Mailbox: phrase.text}
	case '<':
		s.pos++
		a = s.angle()
		a.Name = phrase.text
	case '@': // possibly with a name before it, although there are no angle brackets
		s.pos++
		a = Address{Name: phrase.text[:phrase.lead], Mailbox: phrase.last, Host: s.domain()}
	default:
		if phrase.several || phrase.quoted { // a name and not a mailbox
			a.Name = phrase.text
		} else {
			a.Mailbox = phrase.local
		}
	}
	s.space()
	if a.Name == "" {
		a.Name = s.comment
	}
	s.untilNext()
	return a.complete()
}

// untilNext skips to the next separator of addresses.
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

// phrase is a sequence of words, as the various things that they may turn out to be.
type phrase struct {
	text  string // as a name: separated by spaces
	local string // as a local part: not separated
	// The words cannot be a local part if there is no dot between two of them (RFC 5322
	// sections 3.4.1 and 4.4). Then several is set, last is the words at the end that can
	// be one, and text[:lead] is those before them.
	several bool
	lead    int
	last    string
	quoted  bool // some of the words are in quotes
}

// phrase parses words.
func (s *scanner) phrase() (out phrase) {
	text, local, last := words{in: s.text}, words{in: s.text}, words{in: s.text}
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
			out.quoted = true
		case c == '.':
			s.pos++
			w, isDot = ".", true
		case atoms[c]:
			w = s.run(&atoms)
		default:
			out.text, out.local, out.last = text.text(), local.text(), last.text()
			return out
		}
		space := ""
		if !text.empty() && (!isDot && !dot || s.text[at] == ' ' || s.text[at] == '\t') {
			space = " "
		}
		if !isDot && !dot {
			out.several = true
			out.lead, last = text.size(), words{in: s.text}
		}
		dot = isDot
		text.add(space, w, from)
		local.add("", w, from)
		last.add("", w, from)
	}
}

// words is text composed of words. It is not copied as long as it is a substring of the
// text that contains the words.
type words struct {
	in       string
	from, to int // the substring
	copied   []byte
}

func (w *words) empty() bool { return w.from == w.to && len(w.copied) == 0 }

func (w *words) size() int {
	if w.copied != nil {
		return len(w.copied)
	}
	return w.to - w.from
}

// add adds a word, which is in the text at from if it is there unchanged.
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

// allBut returns all octets except those in specials, white space and control characters.
func allBut(specials string) (set octets) {
	for c := range set {
		set[c] = c > ' ' && c != 0x7f && strings.IndexByte(specials, byte(c)) < 0
	}
	return set
}

// atoms are the octets that words consist of, including all non-ASCII octets.
var atoms = allBut(`()<>[]:;@\,."`)

// angle parses "<route:local@domain>" after its "<".
func (s *scanner) angle() Address {
	var a Address
	s.space()
	if s.peek() == '@' {
		a.Route = strings.Join(strings.Fields(s.until(":>")), "")
		s.accept(':')
	}
	a.Mailbox = s.phrase().local
	s.space()
	if s.accept('@') {
		a.Host = s.domain()
	}
	s.until(">")
	s.accept('>')
	return a
}

// domain parses a domain or a domain literal. White space and comments may appear around
// its dots (RFC 5322 section 4.4) and end it elsewhere.
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
