package message

import "strings"

// describe evaluates a part's "Content-" fields. The first field of each name is used.
func (p *Part) describe(fields []byte) {
	typ, hasType := "", false
	p.NoType = true
	eachField(fields, func(name, value []byte) bool {
		text := unfold(value)
		switch strings.ToLower(string(name)) {
		case "content-type":
			if !hasType {
				typ, hasType = text, true
			}
		case "content-transfer-encoding":
			if s := (&scanner{text: text}); p.Encoding == "" {
				s.space()
				p.Encoding = s.token()
			}
		case "content-id":
			first(&p.ID, text)
		case "content-description":
			first(&p.Description, text)
		case "content-md5":
			first(&p.MD5, text)
		case "content-location":
			first(&p.Location, text)
		case "content-disposition":
			if s := (&scanner{text: text}); p.Disposition == "" {
				s.space()
				p.Disposition = s.token()
				p.DispositionParams = s.params()
			}
		case "content-language":
			if s := (&scanner{text: text}); p.Language == nil {
				p.Language = s.list()
			}
		}
		return true
	})
	if hasType {
		p.Type, p.Subtype = "text", "plain" // if it is invalid (RFC 2045 section 5.2), also in a digest
		s := &scanner{text: typ}
		s.space()
		major := s.token()
		s.space()
		if s.accept('/') {
			s.space()
			if minor := s.token(); major != "" && minor != "" {
				p.Type, p.Subtype, p.NoType = major, minor, false
				p.Params = s.params()
			}
		}
	}
}

func first(have *string, v string) {
	if *have == "" {
		*have = v
	}
}

// maxParams limits the number of parameters of one field.
const maxParams = 200

// params parses the rest of a field: any number of ";name=value". Malformed text is skipped
// up to the next semicolon (RFC 2045 section 5.1).
func (s *scanner) params() []Param { return joinPieces(s.eachParam()) }

func (s *scanner) eachParam() []Param {
	var out []Param
	for len(out) < maxParams {
		if s.space(); s.done() {
			return out
		}
		s.accept(';') // missing in some mail
		s.space()
		name := s.token()
		s.space()
		if name == "" || !s.accept('=') {
			s.until(";")
			continue
		}
		s.space()
		out = append(out, Param{name, s.value(name)})
	}
	return out
}

// value parses the value of a parameter: a quoted string, or a token that may be followed
// by comments (RFC 2045 section 5.1: "charset=us-ascii (Plain text)"). It is more lenient
// than the RFC: boundaries with "=" and file names with spaces occur without quotes. Other
// values end at a space, because what follows is another parameter or does not belong there.
// Nothing is parsed twice: comments may contain many others.
func (s *scanner) value(name string) string {
	if s.peek() == '"' {
		return s.quoted()
	}
	from := s.pos
	v := s.token()
	if s.space(); v != "" && (s.done() || s.peek() == ';') {
		return v
	}
	stops := "; \t"
	if isFileName(name) {
		stops = ";"
	} else if strings.ContainsAny(s.text[from:s.pos], stops) {
		return v
	}
	s.until(stops)
	return strings.TrimRight(s.text[from:s.pos], " \t")
}

// isFileName reports whether a parameter is the name of a file, in any form of RFC 2231.
func isFileName(param string) bool {
	base, _, _ := strings.Cut(param, "*")
	return strings.EqualFold(base, "name") || strings.EqualFold(base, "filename")
}

// list parses words separated by commas.
func (s *scanner) list() []string {
	var out []string
	for len(out) < maxParams {
		s.space()
		if s.done() {
			return out
		}
		if w := s.token(); w != "" {
			out = append(out, w)
		} else {
			s.pos++ // a comma, or something invalid
		}
	}
	return out
}

// scanner parses structured header text: tokens, quoted strings, comments.
type scanner struct {
	text    string
	pos     int
	comment string // the last one that was skipped
}

func (s *scanner) done() bool { return s.pos >= len(s.text) }

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.done() {
		return 0
	}
	return s.text[s.pos]
}

func (s *scanner) accept(c byte) bool {
	if !s.done() && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// space skips white space and comments (RFC 5322 section 3.2.2).
func (s *scanner) space() {
	for !s.done() {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '(':
			s.comment = s.inParentheses()
		default:
			return
		}
	}
}

// inParentheses parses a comment, which may contain other comments.
func (s *scanner) inParentheses() string {
	var b strings.Builder
	depth := 0
	for ; !s.done(); s.pos++ {
		switch c := s.text[s.pos]; c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				s.pos++
				return strings.TrimSpace(b.String())
			}
		case '\\':
			if s.pos+1 < len(s.text) {
				s.pos++
			}
		}
		b.WriteByte(s.text[s.pos])
	}
	return strings.TrimSpace(b.String())
}

// token parses a token of RFC 2045, "" if there is none.
func (s *scanner) token() string { return s.run(&tokens) }

var tokens = allBut(`()<>@,;:\"/[]?=`)

func (s *scanner) while(f func(byte) bool) string {
	from := s.pos
	for !s.done() && f(s.text[s.pos]) {
		s.pos++
	}
	return s.text[from:s.pos]
}

// run is while for a set of octets.
func (s *scanner) run(set *octets) string {
	from := s.pos
	for !s.done() && set[s.text[s.pos]] {
		s.pos++
	}
	return s.text[from:s.pos]
}

// until reads up to one of the stops, which are ASCII, or the end.
func (s *scanner) until(stops string) string {
	text := s.text[min(s.pos, len(s.text)):]
	if i := strings.IndexAny(text, stops); i >= 0 {
		text = text[:i]
	}
	s.pos += len(text)
	return text
}

// quoted parses a quoted string and returns its value.
func (s *scanner) quoted() string {
	s.pos++
	from := s.pos
	for ; !s.done(); s.pos++ {
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return s.text[from : s.pos-1]
		case '\\':
			return s.escaped(from)
		}
	}
	return s.text[from:]
}

// escaped parses the rest of a quoted string, from the first backslash on.
func (s *scanner) escaped(from int) string {
	var b strings.Builder
	b.WriteString(s.text[from:s.pos])
	for !s.done() {
		c := s.text[s.pos]
		s.pos++
		if c == '"' {
			break
		}
		if c == '\\' && !s.done() {
			c = s.text[s.pos]
			s.pos++
		}
		b.WriteByte(c)
	}
	return b.String()
}
