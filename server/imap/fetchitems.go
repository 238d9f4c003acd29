package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
)

// fetchSet is a set of FETCH items without arguments.
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

// fetchItems is what a FETCH asks for.
type fetchItems struct {
	set   fetchSet
	parts []syntax.Section // in the client's order
	attrs []fetchAttr      // in the client's order
	// filters exclude messages: each must return true for a message to be served.
	filters []func(mailbox.Message) bool
	// begin are called before the first message.
	begin []func(*session, syntax.NumSet) error

	byUID        bool    // UID FETCH
	modseq       bool    // MODSEQ is among attrs
	changedSince *uint64 // CHANGEDSINCE
}

// fetchAttr is a FETCH item that is not in fetchSet. It is used for one command only.
type fetchAttr interface {
	name() string // in the command and the response
	// needs returns how much of the file prepare reads.
	needs() fetchNeed
	// prepare obtains the value that write writes. mf is nil if no item needs the file. After
	// an error the message is left out of the response.
	prepare(s *session, m mailbox.Message, mf *mailfile.File) error
	// write writes the value for the message that prepare was last called for.
	write(w *writer)
}

// cachedAttr is a fetchAttr whose value may be in the cache, so that prepare needs no file.
type cachedAttr interface{ cachedAs() cache.Kind }

// fetchNeed says how much of a message's file must be read.
type fetchNeed uint8

const (
	needNothing fetchNeed = iota
	needHeader
	needBody
)

// maxFetchParts is the maximum number of body sections in one FETCH. No client comes near it.
const maxFetchParts = 500

// fetchExtension is FETCH with the items of IMAP4rev1.
func fetchExtension() extension {
	return extension{
		commands: []command{
			{name: "FETCH", in: selected, news: noExpunges, numbers: true, run: bySeq((*session).fetch)},
			{name: "UID FETCH", in: selected, news: allNews, run: byUID((*session).fetch)},
		},
		fetchItems: words[fetchItems]{
			"ALL": fetchBits(fetchAll), "FAST": fetchBits(fetchFast), "FULL": fetchBits(fetchFull),
			"UID": fetchBits(fetchUID), "FLAGS": fetchBits(fetchFlags), "INTERNALDATE": fetchBits(fetchDate),
			"RFC822.SIZE": fetchBits(fetchSize), "ENVELOPE": fetchBits(fetchEnvelope),
			"BODYSTRUCTURE": fetchBits(fetchBodyStructure),
			"BODY": func(lx *lexer, items *fetchItems) {
				if lx.Peek() != '[' {
					items.set |= fetchBody
					return
				}
				lx.section(items, syntax.Section{})
			},
			"BODY.PEEK": func(lx *lexer, items *fetchItems) {
				lx.section(items, syntax.Section{FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
			"RFC822": fetchOld("RFC822", imap.FetchItemBodySection{}),
			// RFC 1730 section 6.4.5; Outlook (2024) still asks for it.
			"RFC822.PEEK": fetchOld("RFC822", imap.FetchItemBodySection{Peek: true}),
			"RFC822.HEADER": fetchOld("RFC822.HEADER",
				imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}),
			"RFC822.TEXT": fetchOld("RFC822.TEXT", imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}),
		},
	}
}

// binaryExtension is BINARY (RFC 3516): these items, and literal8 in APPEND.
func binaryExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapBinary},
		fetchItems: words[fetchItems]{
			"BINARY": func(lx *lexer, items *fetchItems) { lx.section(items, syntax.Section{Kind: syntax.BinarySection}) },
			"BINARY.PEEK": func(lx *lexer, items *fetchItems) {
				lx.section(items, syntax.Section{Kind: syntax.BinarySection, FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
			"BINARY.SIZE": func(lx *lexer, items *fetchItems) {
				lx.section(items, syntax.Section{Kind: syntax.BinarySizeSection, FetchItemBodySection: imap.FetchItemBodySection{Peek: true}})
			},
		},
	}
}

// fetchBits returns the parser of an item that is just a word.
func fetchBits(set fetchSet) func(*lexer, *fetchItems) {
	return func(_ *lexer, items *fetchItems) { items.set |= set }
}

// fetchOld returns the parser of an item that RFC 9051 dropped. The response uses its name.
func fetchOld(name string, section imap.FetchItemBodySection) func(*lexer, *fetchItems) {
	return func(lx *lexer, items *fetchItems) {
		items.add(lx, syntax.Section{Name: name, FetchItemBodySection: section})
	}
}

// fetchItems takes the items of FETCH (fetch-att and the macros of RFC 9051, and the RFC822
// items of RFCs 3501 and 1730). It accepts macros inside a list, too.
func (lx *lexer) fetchItems() (items fetchItems) {
	one := func() { lx.grammar.fetchItems.take(lx, &items, "FETCH item") }
	if lx.Peek() == '(' {
		lx.List(one)
	} else {
		one()
	}
	return items
}

// add adds a section, unless it is already there.
func (items *fetchItems) add(lx *lexer, p syntax.Section) {
	if lx.Err() != nil {
		return
	}
	if i := slices.IndexFunc(items.parts, p.Same); i >= 0 {
		items.parts[i].Peek = items.parts[i].Peek && p.Peek
		return
	}
	if len(items.parts) == maxFetchParts {
		lx.Fail("Too many FETCH items.")
		return
	}
	items.parts = append(items.parts, p)
}

// addAttr adds an item, unless it is already there.
func (items *fetchItems) addAttr(a fetchAttr) {
	if !slices.ContainsFunc(items.attrs, func(b fetchAttr) bool { return b.name() == a.name() }) {
		items.attrs = append(items.attrs, a)
	}
}

// joined returns the union of several lists.
func joined(lists []*fetchItems) *fetchItems {
	if len(lists) == 1 {
		return lists[0]
	}
	out := *lists[0]
	out.parts, out.attrs, out.begin = slices.Clone(out.parts), slices.Clone(out.attrs), slices.Clone(out.begin)
	for _, more := range lists[1:] {
		out.set |= more.set
		for _, p := range more.parts {
			if !slices.ContainsFunc(out.parts, p.Same) {
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

// section takes "[section]<partial>" and adds it.
func (lx *lexer) section(items *fetchItems, p syntax.Section) {
	lx.Section(&p)
	items.add(lx, p)
}

// seen reports whether fetching the items sets \Seen.
func (items *fetchItems) seen() bool {
	return slices.ContainsFunc(items.parts, func(p syntax.Section) bool { return !p.Peek })
}

// needs returns how much of a message's file the items need.
func (items *fetchItems) needs() fetchNeed {
	need := needNothing
	if items.set&(fetchBody|fetchBodyStructure) != 0 {
		need = needBody
	} else if items.set&fetchEnvelope != 0 {
		need = needHeader
	}
	for i := range items.parts {
		need = max(need, partNeeds(&items.parts[i]))
	}
	for _, a := range items.attrs {
		need = max(need, a.needs())
	}
	return need
}

// kinds returns what the cache may contain of what the items need, and whether the file is
// needed in any case.
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
		need(partNeeds(&items.parts[i]))
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

// covers reports whether the kinds that the cache has suffice for the kinds that are needed.
func covers(has, kinds cache.Kinds) bool {
	if has&cache.Header.Set() != 0 {
		has |= cache.Envelope.Set() // the envelope is derived from the header
	}
	return kinds&^has == 0
}

func partNeeds(p *syntax.Section) fetchNeed {
	if p.Kind != syntax.BodySection || len(p.Part) > 0 || p.Specifier != imap.PartSpecifierHeader {
		return needBody
	}
	return needHeader
}
