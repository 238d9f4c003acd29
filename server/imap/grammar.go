package imap

import (
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

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

// add adds what an extension brings. A new kind of thing that extensions can bring is a
// field of extension, and its line here.
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

// words are the words that may stand in one place of a command, in upper case,
// each with what takes its arguments.
type words[T any] map[string]func(lx *lexer, to *T)

// take takes one of the words, with its arguments. what says what they are.
func (w words[T]) take(lx *lexer, to *T, what string) {
	w.taken(lx, lx.Word(), to, what)
}

func (w words[T]) taken(lx *lexer, word []byte, to *T, what string) {
	if take, ok := w[string(word)]; ok {
		take(lx, to)
		return
	}
	lx.Fail("Unknown %s %.40s.", what, word)
}

// once returns take for one list in which no word may stand twice. No RFC says what
// that would mean, and each may have its own answer or its own look at every message.
func (w words[T]) once(lx *lexer, to *T, what string) func() {
	var had []string
	return func() {
		word := lx.Word()
		if slices.Contains(had, string(word)) {
			lx.Fail("%s is given twice.", word)
			return
		}
		had = append(had, string(word))
		w.taken(lx, word, to, what)
	}
}

// lexer takes commands apart by the grammar. Its methods beyond those of package
// syntax stand with the commands that they are for.
type lexer struct {
	syntax.Lexer
	grammar *grammar
	message int64 // octets that a message of APPEND may have
}

// newLexer makes the lexer of a session that has just begun.
func newLexer(s *session) *lexer {
	cfg := &s.srv.cfg
	return &lexer{
		Lexer:   syntax.Lexer{Source: s, Continue: s.continueLiteral, Limits: cfg.lexLimits(false)},
		grammar: s.srv.grammar, message: cfg.AppendLimit,
	}
}

// writer puts responses together. Its methods beyond those of package syntax stand
// with the items that they write.
type writer struct{ syntax.Writer }
