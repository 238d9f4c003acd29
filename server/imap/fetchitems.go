package imap

import (
	"math"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/maildir/message"
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
	attrs []fetchAttr // in the client's order
	// filters leave messages out to which one of them says no.
	filters []func(mailbox.Message) bool
	// begin are called before the first message is served.
	begin []func(*session, numSet) error

	byUID        bool    // UID FETCH
	modseq       bool    // MODSEQ is among attrs
	changedSince *uint64 // CHANGEDSINCE
}

// fetchAttr is an item that has no place in fetchSet, for one command.
type fetchAttr interface {
	name() string // in the response
	// needs says what of the file prepare reads.
	needs() fetchNeed
	// prepare gets ready what write writes; mf is nil if nothing needs the file.
	// An error leaves the message out of the answer.
	prepare(s *session, m mailbox.Message, mf *mailFile) error
	// write writes the value of the message that prepare was called for.
	write(w *writer)
}

// cachedAttr is a fetchAttr that the cache may have, so that prepare needs no file.
type cachedAttr interface{ cachedAs() cache.Kind }

// fetchNeed is what of a message's file has to be read.
type fetchNeed uint8

const (
	needNothing fetchNeed = iota
	needHeader
	needBody
)

// fetchPart asks for octets of the message.
type fetchPart struct {
	kind fetchKind
	// name is how the response calls the item: with the header fields as the
	// client wrote them.
	name string
	imap.FetchItemBodySection
	// fields are those of HEADER.FIELDS and HEADER.FIELDS.NOT; nil for other sections.
	fields *message.FieldSet
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

// fetchExtension is FETCH with the items of IMAP4rev1.
func fetchExtension() extension {
	return extension{
		commands: []command{
			{name: "FETCH", in: selected, news: noExpunges, numbers: true, run: runFetch},
			{name: "UID FETCH", in: selected, news: allNews, run: runUIDFetch},
		},
		fetchItems: words[fetchItems]{
			"ALL": fetchBits(fetchAll), "FAST": fetchBits(fetchFast), "FULL": fetchBits(fetchFull),
			"UID": fetchBits(fetchUID), "FLAGS": fetchBits(fetchFlags), "INTERNALDATE": fetchBits(fetchDate),
			"RFC822.SIZE": fetchBits(fetchSize), "ENVELOPE": fetchBits(fetchEnvelope),
			"BODYSTRUCTURE": fetchBits(fetchBodyStructure),
			"BODY": func(lx *lexer, items *fetchItems) {
				if lx.peek() != '[' {
					items.set |= fetchBody
					return
				}
				lx.section(items, fetchPart{})
			},
			"BODY.PEEK": func(lx *lexer, items *fetchItems) {
				lx.section(items, fetchPart{FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
			"RFC822": fetchOld("RFC822", imap.FetchItemBodySection{}),
			"RFC822.HEADER": fetchOld("RFC822.HEADER",
				imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}),
			"RFC822.TEXT": fetchOld("RFC822.TEXT", imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}),
		},
	}
}

// binaryExtension is BINARY (RFC 3516): the items here, and literal8 in APPEND.
func binaryExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapBinary},
		fetchItems: words[fetchItems]{
			"BINARY": func(lx *lexer, items *fetchItems) { lx.section(items, fetchPart{kind: fetchBinary}) },
			"BINARY.PEEK": func(lx *lexer, items *fetchItems) {
				lx.section(items, fetchPart{kind: fetchBinary, FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
			"BINARY.SIZE": func(lx *lexer, items *fetchItems) {
				lx.section(items, fetchPart{kind: fetchBinarySize, FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
		},
	}
}

// fetchBits is for items that are no more than a word.
func fetchBits(set fetchSet) func(*lexer, *fetchItems) {
	return func(_ *lexer, items *fetchItems) { items.set |= set }
}

// fetchOld is for the items that RFC 9051 left out, whose responses have their names.
func fetchOld(name string, section imap.FetchItemBodySection) func(*lexer, *fetchItems) {
	return func(lx *lexer, items *fetchItems) {
		items.add(lx, fetchPart{name: name, FetchItemBodySection: section})
	}
}

// fetchItems takes the items of FETCH (RFC 9051 fetch-att and the macros, with
// the RFC822 items of RFC 3501). The macros are taken inside a list too.
func (lx *lexer) fetchItems() (items fetchItems) {
	one := func() { lx.grammar.fetchItems.take(lx, &items, "FETCH item") }
	if lx.peek() == '(' {
		lx.list(one)
	} else {
		one()
	}
	return items
}

// add adds a part, unless its response is there already.
func (items *fetchItems) add(lx *lexer, p fetchPart) {
	if lx.err != nil {
		return
	}
	if i := slices.IndexFunc(items.parts, p.same); i >= 0 {
		items.parts[i].Peek = items.parts[i].Peek && p.Peek
		return
	}
	if len(items.parts) == maxFetchParts {
		lx.fail("Too many FETCH items.")
		return
	}
	items.parts = append(items.parts, p)
}

// addAttr adds an item, unless it is there already.
func (items *fetchItems) addAttr(a fetchAttr) {
	if !slices.ContainsFunc(items.attrs, func(b fetchAttr) bool { return b.name() == a.name() }) {
		items.attrs = append(items.attrs, a)
	}
}

// joined is the items of several lists, each once.
func joined(lists []*fetchItems) *fetchItems {
	if len(lists) == 1 {
		return lists[0]
	}
	out := *lists[0]
	out.parts, out.attrs, out.begin = slices.Clone(out.parts), slices.Clone(out.attrs), slices.Clone(out.begin)
	for _, more := range lists[1:] {
		out.set |= more.set
		for _, p := range more.parts {
			if !slices.ContainsFunc(out.parts, p.same) {
				out.parts = append(out.parts, p)
			}
		}
		for _, a := range more.attrs {
			out.addAttr(a)
		}
		out.begin = append(out.begin, more.begin...)
		out.modseq = out.modseq || more.modseq
	}
	return &out
}

// same tells whether the responses for two parts are the same.
func (p fetchPart) same(q fetchPart) bool {
	return q.name == p.name && samePartial(q.Partial, p.Partial)
}

func samePartial(a, b *imap.SectionPartial) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// section takes "[section]<partial>" and adds the part.
func (lx *lexer) section(items *fetchItems, p fetchPart) {
	lx.sectionName(&p)
	items.add(lx, p)
}

// sectionName takes "[section]<partial>" and makes the name of the response.
func (lx *lexer) sectionName(p *fetchPart) {
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
		p.fields, name = lx.headerList(name, false)
	case "HEADER.FIELDS.NOT":
		p.Specifier = imap.PartSpecifierHeader
		p.fields, name = lx.headerList(name, true)
	default:
		lx.fail("Unknown section %.40s.", word)
	}
	return name
}

// headerList takes a list of header fields, those that are wanted or with not the
// others, and appends it to name as it was written.
func (lx *lexer) headerList(name []byte, not bool) (*message.FieldSet, []byte) {
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
	return message.NewFieldSet(fields, not), append(name, ')')
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

// needs tells what of a message's file the items need.
func (items *fetchItems) needs() fetchNeed {
	need := needNothing
	if items.set&(fetchBody|fetchBodyStructure) != 0 {
		need = needBody
	} else if items.set&fetchEnvelope != 0 {
		need = needHeader
	}
	for i := range items.parts {
		need = max(need, items.parts[i].needs())
	}
	for _, a := range items.attrs {
		need = max(need, a.needs())
	}
	return need
}

// kinds tells what the cache may have of what the items need, and whether the
// file is needed in any case.
func (items *fetchItems) kinds() (kinds cache.Kinds, file bool) {
	if items.set&fetchBodyStructure != 0 {
		kinds |= cache.BodyStructure.Set()
	}
	if items.set&fetchBody != 0 {
		kinds |= cache.Body.Set()
	}
	if items.set&fetchEnvelope != 0 {
		kinds |= cache.Envelope.Set()
	}
	need := func(n fetchNeed) {
		switch n {
		case needHeader:
			kinds |= cache.Header.Set()
		case needBody:
			file = true
		}
	}
	for i := range items.parts {
		need(items.parts[i].needs())
	}
	for _, a := range items.attrs {
		if c, ok := a.(cachedAttr); ok {
			kinds |= c.cachedAs().Set()
		} else {
			need(a.needs())
		}
	}
	return kinds, file
}

// covers tells whether all kinds can be had from those that the cache has.
func covers(has, kinds cache.Kinds) bool {
	if has&cache.Header.Set() != 0 {
		has |= cache.Envelope.Set() // it is made of it
	}
	return kinds&^has == 0
}

func (p *fetchPart) needs() fetchNeed {
	if p.kind != fetchSection || len(p.Part) > 0 || p.Specifier != imap.PartSpecifierHeader {
		return needBody
	}
	return needHeader
}
