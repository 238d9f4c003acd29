package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
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
	parts []syntax.Section // in the client's order
	attrs []fetchAttr      // in the client's order
	// filters leave messages out to which one of them says no.
	filters []func(mailbox.Message) bool
	// begin are called before the first message is served.
	begin []func(*session, syntax.NumSet) error

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
	prepare(s *session, m mailbox.Message, mf *mailfile.File) error
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

// maxFetchParts bounds what one FETCH may ask for. No client comes near.
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

// binaryExtension is BINARY (RFC 3516): the items here, and literal8 in APPEND.
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

// fetchBits is for items that are no more than a word.
func fetchBits(set fetchSet) func(*lexer, *fetchItems) {
	return func(_ *lexer, items *fetchItems) { items.set |= set }
}

// fetchOld is for the items that RFC 9051 left out, whose responses have their names.
func fetchOld(name string, section imap.FetchItemBodySection) func(*lexer, *fetchItems) {
	return func(lx *lexer, items *fetchItems) {
		items.add(lx, syntax.Section{Name: name, FetchItemBodySection: section})
	}
}

// fetchItems takes the items of FETCH (RFC 9051 fetch-att and the macros, with
// the RFC822 items of RFC 3501 and 1730). The macros are taken inside a list too.
func (lx *lexer) fetchItems() (items fetchItems) {
	one := func() { lx.grammar.fetchItems.take(lx, &items, "FETCH item") }
	if lx.Peek() == '(' {
		lx.List(one)
	} else {
		one()
	}
	return items
}

// add adds a part, unless its response is there already.
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

// section takes "[section]<partial>" and adds the part.
func (lx *lexer) section(items *fetchItems, p syntax.Section) {
	lx.Section(&p)
	items.add(lx, p)
}

// seen tells whether fetching the items sets \Seen.
func (items *fetchItems) seen() bool {
	return slices.ContainsFunc(items.parts, func(p syntax.Section) bool { return !p.Peek })
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
		need = max(need, partNeeds(&items.parts[i]))
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

// covers tells whether all kinds can be had from those that the cache has.
func covers(has, kinds cache.Kinds) bool {
	if has&cache.Header.Set() != 0 {
		has |= cache.Envelope.Set() // it is made of it
	}
	return kinds&^has == 0
}

func partNeeds(p *syntax.Section) fetchNeed {
	if p.Kind != syntax.BodySection || len(p.Part) > 0 || p.Specifier != imap.PartSpecifierHeader {
		return needBody
	}
	return needHeader
}
