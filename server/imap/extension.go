package imap

import (
	"fmt"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// extension is one part of the protocol: what one file adds to the grammar and
// to the capabilities. The base protocol is made of such parts too. A field
// that is not set adds nothing.
type extension struct {
	// caps are announced after login; those of early before it as well.
	caps, early []imap.Cap
	// capsOf are announced if the session as it stands can use them.
	capsOf func(*session) []imap.Cap
	// enable is what ENABLE can turn on.
	enable []enabler

	commands   []command
	mechanisms []mechanism // of AUTHENTICATE

	selectParams words[selectRequest] // SELECT mailbox (...)
	createParams words[createRequest] // CREATE mailbox (...)
	listSelect   words[listCommand]   // LIST (...) reference pattern
	listReturn   words[listCommand]   // LIST reference pattern RETURN (...)
	statusItems  []statusItem
	fetchItems   words[fetchItems]
	fetchParams  words[fetchItems]   // FETCH set items (...)
	storeParams  words[storeRequest] // STORE set (...) flags
	searchKeys   searchWords
	searchReturn words[searchQuery] // SEARCH RETURN (...)
	appendData   words[appendItem]  // what may stand in the place of APPEND's literal

	// selected writes what more a client is told of a mailbox that it selects.
	selected func(*session)
	// created is called when CREATE made a mailbox. It may set the response code.
	created func(s *session, name string) error
	// flagData writes, with a space before it, what more a FETCH response has
	// that tells flags without being asked; items is what the response has
	// besides, nil for nothing.
	flagData func(*session, *fetchItems, mailbox.Message)
}

// extensions are all parts, in the order in which their capabilities are
// announced. To add one, write a file such as id.go and add it here.
func extensions(cfg *Config) []extension {
	return []extension{
		rev1Extension(), rev2Extension(cfg), literalExtension(),
		connectionExtension(), tlsExtension(), authExtension(), scramExtension(cfg.SCRAM), tokenExtension(cfg.SCRAM, cfg.Tokens), saslExtension(), unauthenticateExtension(),
		idExtension(), enableExtension(), idleExtension(), notifyExtension(), multiSearchExtension(),
		namespaceExtension(), folderExtension(), listExtension(), lsubExtension(), statusExtension(),
		specialUseExtension(), selectExtension(), unselectExtension(),
		fetchExtension(), binaryExtension(), storeExtension(), searchExtension(), sortExtension(), contextExtension(), threadExtension(),
		copyExtension(), moveExtension(), expungeExtension(), appendExtension(cfg), catenateExtension(), urlAuthExtension(cfg), utf8Extension(),
		withinExtension(), saveDateExtension(), condstoreExtension(), qresyncExtension(), compressExtension(), replaceExtension(), partialExtension(), inProgressExtension(), previewExtension(), aclExtension(), objectIDExtension(), uidOnlyExtension(), quotaExtension(), metadataExtension(),
	}
}

// words are the words that may stand in one place of a command, in upper case,
// each with what takes its arguments.
type words[T any] map[string]func(lx *lexer, to *T)

// take takes one of the words, with its arguments. what says what they are.
func (w words[T]) take(lx *lexer, to *T, what string) {
	word := lx.word()
	if take, ok := w[string(word)]; ok {
		take(lx, to)
		return
	}
	lx.fail("Unknown %s %.40s.", what, word)
}

// enabler is a capability that ENABLE turns on.
type enabler struct {
	name imap.Cap
	// on turns it on, and tells whether it was off.
	on func(*session) bool
	// then, if not nil, goes on when the ENABLED response was written.
	then func(*session) error
}

// grammar is all extensions put together.
type grammar struct {
	extension
	commands map[string]*command
	selected []func(*session)
	created  []func(*session, string) error
	flagData []func(*session, *fetchItems, mailbox.Message)
	capsOf   []func(*session) []imap.Cap
}

// newGrammar puts extensions together. Two of them with the same word are a
// mistake of the program, and panic.
func newGrammar(parts []extension) *grammar {
	g := &grammar{commands: map[string]*command{}}
	g.selectParams, g.createParams = words[selectRequest]{}, words[createRequest]{}
	g.listSelect, g.listReturn = words[listCommand]{}, words[listCommand]{}
	g.fetchItems, g.fetchParams, g.storeParams = words[fetchItems]{}, words[fetchItems]{}, words[storeRequest]{}
	g.searchKeys, g.searchReturn, g.appendData = searchWords{}, words[searchQuery]{}, words[appendItem]{}
	for _, e := range parts {
		g.add(&e)
	}
	return g
}

func (g *grammar) add(e *extension) {
	g.caps = append(g.caps, e.caps...)
	g.early = append(g.early, e.early...)
	g.enable = append(g.enable, e.enable...)
	g.mechanisms = append(g.mechanisms, e.mechanisms...)
	g.statusItems = append(g.statusItems, e.statusItems...)
	for i := range e.commands {
		merge(g.commands, map[string]*command{e.commands[i].name: &e.commands[i]})
	}
	merge(g.selectParams, e.selectParams)
	merge(g.createParams, e.createParams)
	merge(g.listSelect, e.listSelect)
	merge(g.listReturn, e.listReturn)
	merge(g.fetchItems, e.fetchItems)
	merge(g.fetchParams, e.fetchParams)
	merge(g.storeParams, e.storeParams)
	merge(g.searchKeys, e.searchKeys)
	merge(g.searchReturn, e.searchReturn)
	merge(g.appendData, e.appendData)
	if e.selected != nil {
		g.selected = append(g.selected, e.selected)
	}
	if e.created != nil {
		g.created = append(g.created, e.created)
	}
	if e.flagData != nil {
		g.flagData = append(g.flagData, e.flagData)
	}
	if e.capsOf != nil {
		g.capsOf = append(g.capsOf, e.capsOf)
	}
}

func merge[V any](into, from map[string]V) {
	for word, v := range from {
		if _, twice := into[word]; twice {
			panic(fmt.Sprintf("imap: two extensions bring %s", word))
		}
		into[word] = v
	}
}
