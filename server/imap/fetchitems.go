package imap

import (
	"math"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// fetchSet is the items of a FETCH that have no argument, as bits.
type fetchSet uint8

const (
	fetchUID fetchSet = 1 << iota
	fetchFlags
	fetchDate
	fetchSize
	fetchEnvelope
	fetchBody
	fetchBodyStructure

	fetchFast = fetchFlags | fetchDate | fetchSize
	fetchAll  = fetchFast | fetchEnvelope
	fetchFull = fetchAll | fetchBody
)

// fetchItems is what a FETCH asks of each message.
type fetchItems struct {
	set   fetchSet
	parts []fetchPart // in the client's order
}

// fetchPart asks for octets of the message.
type fetchPart struct {
	kind fetchKind
	// name is how the response calls the item: with the header fields as the
	// client wrote them.
	name string
	imap.FetchItemBodySection
}

type fetchKind uint8

const (
	fetchSection    fetchKind = iota // BODY[...] and RFC822...
	fetchBinary                      // BINARY[...]
	fetchBinarySize                  // BINARY.SIZE[...]
)

// Bounds of what one FETCH may ask for. No client comes near.
const (
	maxFetchParts = 500
	maxPartPath   = 100
)

// fetchItems takes the items of FETCH (RFC 9051 fetch-att and the macros, with
// the RFC822 items of RFC 3501). The macros are taken inside a list too.
func (lx *lexer) fetchItems() (items fetchItems) {
	if lx.peek() == '(' {
		lx.list(func() { lx.fetchItem(&items) })
	} else {
		lx.fetchItem(&items)
	}
	return items
}

// fetchWords are the items that are no more than a word.
var fetchWords = map[string]fetchSet{
	"ALL": fetchAll, "FAST": fetchFast, "FULL": fetchFull,
	"UID": fetchUID, "FLAGS": fetchFlags, "INTERNALDATE": fetchDate, "RFC822.SIZE": fetchSize,
	"ENVELOPE": fetchEnvelope, "BODYSTRUCTURE": fetchBodyStructure,
}

func (lx *lexer) fetchItem(items *fetchItems) {
	word := lx.word()
	if set, ok := fetchWords[string(word)]; ok {
		items.set |= set
		return
	}
	var p fetchPart
	switch string(word) {
	case "BODY":
		if lx.peek() != '[' {
			items.set |= fetchBody
			return
		}
	case "BODY.PEEK":
		p.Peek = true
	case "BINARY":
		p.kind = fetchBinary
	case "BINARY.PEEK":
		p.kind, p.Peek = fetchBinary, true
	case "BINARY.SIZE":
		p.kind, p.Peek = fetchBinarySize, true
	case "RFC822":
		items.add(lx, fetchPart{name: "RFC822"})
		return
	case "RFC822.HEADER":
		p.name, p.Peek, p.Specifier = "RFC822.HEADER", true, imap.PartSpecifierHeader
		items.add(lx, p)
		return
	case "RFC822.TEXT":
		p.name, p.Specifier = "RFC822.TEXT", imap.PartSpecifierText
		items.add(lx, p)
		return
	default:
		lx.fail("Unknown FETCH item %.40s.", word)
		return
	}
	lx.section(&p)
	items.add(lx, p)
}

// add adds a part, unless its response is there already.
func (items *fetchItems) add(lx *lexer, p fetchPart) {
	if lx.err != nil {
		return
	}
	same := func(q fetchPart) bool { return q.name == p.name && samePartial(q.Partial, p.Partial) }
	if i := slices.IndexFunc(items.parts, same); i >= 0 {
		items.parts[i].Peek = items.parts[i].Peek && p.Peek
		return
	}
	if len(items.parts) == maxFetchParts {
		lx.fail("Too many FETCH items.")
		return
	}
	items.parts = append(items.parts, p)
}

func samePartial(a, b *imap.SectionPartial) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// section takes "[section]<partial>" and makes the name of the response.
func (lx *lexer) section(p *fetchPart) {
	name := []byte("BODY[")
	switch p.kind {
	case fetchBinary:
		name = []byte("BINARY[")
	case fetchBinarySize:
		name = []byte("BINARY.SIZE[")
	}
	lx.expect('[')
	needText := false
	for c := lx.peek(); c >= '0' && c <= '9'; c = lx.peek() {
		if len(p.Part) == maxPartPath {
			lx.fail("Part number is too long.")
			return
		}
		n := min(lx.nzNumber(), math.MaxInt32)
		p.Part = append(p.Part, int(n))
		name = strconv.AppendUint(name, uint64(n), 10)
		if needText = lx.accept('.'); !needText {
			break
		}
		name = append(name, '.')
	}
	if p.kind == fetchSection && (needText || len(p.Part) == 0 && lx.peek() != ']') {
		name = lx.sectionText(p, name)
	} else if needText {
		lx.fail("Expected a part number.")
	}
	lx.expect(']')
	name = append(name, ']')
	if p.kind != fetchBinarySize && lx.accept('<') {
		p.Partial = lx.partial()
		name = append(name, '<')
		name = strconv.AppendInt(name, p.Partial.Offset, 10)
		name = append(name, '>')
	}
	p.name = string(name)
}

// sectionText takes what a section has behind the part number.
func (lx *lexer) sectionText(p *fetchPart, name []byte) []byte {
	word := lx.word()
	name = append(name, word...)
	switch string(word) {
	case "HEADER":
		p.Specifier = imap.PartSpecifierHeader
	case "TEXT":
		p.Specifier = imap.PartSpecifierText
	case "MIME":
		if len(p.Part) == 0 {
			lx.fail("MIME needs a part number.")
		}
		p.Specifier = imap.PartSpecifierMIME
	case "HEADER.FIELDS":
		p.Specifier = imap.PartSpecifierHeader
		p.HeaderFields, name = lx.headerList(name)
	case "HEADER.FIELDS.NOT":
		p.Specifier = imap.PartSpecifierHeader
		p.HeaderFieldsNot, name = lx.headerList(name)
	default:
		lx.fail("Unknown section %.40s.", word)
	}
	return name
}

// headerList takes a list of header fields and appends it to name as it was
// written.
func (lx *lexer) headerList(name []byte) ([]string, []byte) {
	var fields []string
	lx.sp()
	sep := byte('(')
	name = append(name, ' ')
	lx.list(func() {
		field := lx.astring()
		name = append(name, sep)
		name = lx.appendFieldName(name, field)
		sep = ' '
		fields = append(fields, string(field))
	})
	return fields, append(name, ')')
}

// appendFieldName appends the name of a header field as an astring.
func (lx *lexer) appendFieldName(b, field []byte) []byte {
	plain := len(field) > 0
	for _, c := range field {
		if c < ' ' || c >= 0x7f {
			lx.fail("Not the name of a header field.")
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
func (lx *lexer) partial() *imap.SectionPartial {
	var p imap.SectionPartial
	p.Offset = int64(lx.number64())
	lx.expect('.')
	p.Size = int64(lx.number64())
	if p.Size == 0 {
		lx.fail("A partial FETCH of no octets is not possible.")
	}
	lx.expect('>')
	return &p
}

// seen tells whether fetching the items sets \Seen.
func (items *fetchItems) seen() bool {
	return slices.ContainsFunc(items.parts, func(p fetchPart) bool { return !p.Peek })
}

// file tells whether the items need the message's file.
func (items *fetchItems) file() bool {
	return len(items.parts) > 0 || items.set&(fetchEnvelope|fetchBody|fetchBodyStructure) != 0
}
