package syntax

import (
	"math"
	"strconv"

	"maildird/maildir/message"

	"github.com/emersion/go-imap/v2"
)

// Section is a FETCH item that asks for octets of a message: BODY[...] with or without PEEK
// (RFC 9051 section 6.4.5), or an item of RFC 3516.
type Section struct {
	Kind SectionKind
	// Name is the name of the item in the response. It contains header fields as
	// the client wrote them.
	Name string
	imap.FetchItemBodySection
	// Fields are the fields of HEADER.FIELDS and HEADER.FIELDS.NOT, and nil for other sections.
	// They replace the lists of FetchItemBodySection.
	Fields *message.FieldSet
}

// SectionKind is the kind of a Section.
type SectionKind uint8

const (
	BodySection       SectionKind = iota // BODY[...] and RFC822...
	BinarySection                        // BINARY[...]
	BinarySizeSection                    // BINARY.SIZE[...]
)

// maxPartPath is the maximum number of components of a part number. No client comes near it.
const maxPartPath = 100

// Same reports whether two sections have the same response.
func (s Section) Same(t Section) bool {
	return s.Name == t.Name && samePartial(s.Partial, t.Partial)
}

func samePartial(a, b *imap.SectionPartial) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Section takes "[section]<partial>", as far as s.Kind allows it, and fills in s, including the
// name in the response.
func (lx *Lexer) Section(s *Section) {
	name := []byte("BODY[")
	switch s.Kind {
	case BinarySection:
		name = []byte("BINARY[")
	case BinarySizeSection:
		name = []byte("BINARY.SIZE[")
	}
	lx.Expect('[')
	needText := false
	for c := lx.Peek(); c >= '0' && c <= '9'; c = lx.Peek() {
		if len(s.Part) == maxPartPath {
			lx.Fail("Part number is too long.")
			return
		}
		n := lx.NZNumber()
		s.Part = append(s.Part, int(min(n, math.MaxInt32))) // no message has so many parts
		name = strconv.AppendUint(name, uint64(n), 10)
		if needText = lx.Accept('.'); !needText {
			break
		}
		name = append(name, '.')
	}
	if s.Kind == BodySection && (needText || len(s.Part) == 0 && lx.Peek() != ']') {
		name = lx.sectionText(s, name)
	} else if needText {
		lx.Fail("Expected a part number.")
	}
	lx.Expect(']')
	name = append(name, ']')
	if s.Kind != BinarySizeSection && lx.Accept('<') {
		s.Partial = lx.partial()
		name = append(name, '<')
		name = strconv.AppendInt(name, s.Partial.Offset, 10)
		name = append(name, '>')
	}
	s.Name = string(name)
}

// sectionText takes what follows the part number in a section.
func (lx *Lexer) sectionText(s *Section, name []byte) []byte {
	word := lx.Word()
	name = append(name, word...)
	switch string(word) {
	case "HEADER":
		s.Specifier = imap.PartSpecifierHeader
	case "TEXT":
		s.Specifier = imap.PartSpecifierText
	case "MIME":
		if len(s.Part) == 0 {
			lx.Fail("MIME needs a part number.")
		}
		s.Specifier = imap.PartSpecifierMIME
	case "HEADER.FIELDS":
		s.Specifier = imap.PartSpecifierHeader
		s.Fields, name = lx.headerList(name, false)
	case "HEADER.FIELDS.NOT":
		s.Specifier = imap.PartSpecifierHeader
		s.Fields, name = lx.headerList(name, true)
	default:
		lx.Fail("Unknown section %.40s.", word)
	}
	return name
}

// headerList takes a list of header fields, of those that are requested or, with not, of those
// that are not, and appends it to name.
func (lx *Lexer) headerList(name []byte, not bool) (*message.FieldSet, []byte) {
	var fields []string
	lx.SP()
	sep := byte('(')
	name = append(name, ' ')
	lx.List(func() {
		field := lx.AString()
		name = append(name, sep)
		name = lx.appendFieldName(name, field)
		sep = ' '
		fields = append(fields, string(field))
	})
	lx.spaces()
	return message.NewFieldSet(fields, not), append(name, ')')
}

// appendFieldName appends the name of a header field as an astring.
func (lx *Lexer) appendFieldName(b, field []byte) []byte {
	plain := len(field) > 0
	for _, c := range field {
		if c < ' ' || c >= 0x7f {
			lx.Fail("Not a header field name.")
			return b
		}
		plain = plain && classes[c]&classAString != 0
	}
	if plain {
		return append(b, field...)
	}
	b = append(b, '"')
	for _, c := range field {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// partial takes "offset.count>".
func (lx *Lexer) partial() *imap.SectionPartial {
	var p imap.SectionPartial
	p.Offset = int64(lx.Number64())
	lx.Expect('.')
	p.Size = int64(lx.Number64())
	if p.Size == 0 {
		lx.Fail("A partial FETCH must ask for at least one octet.")
	}
	lx.Expect('>')
	return &p
}
