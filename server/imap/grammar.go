package imap

import (
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// grammar is the combination of all extensions. Of the embedded one, the fields that have the
// name of a field here are not used.
type grammar struct {
	extension
	commands map[string]*command
	selected []func(*session)
	created  []func(*session, string) error
	flagData []func(*session, *fetchItems, mailbox.Message)
	capsOf   []func(*session) []imap.Cap
}

// newGrammar combines extensions. It panics if two of them define the same word.
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

// add adds an extension. A new kind of thing that extensions can define needs a field in
// extension, and a line here.
func (g *grammar) add(e *extension) {
	g.caps = append(g.caps, e.caps...)
	g.early = append(g.early, e.early...)
	g.enable = append(g.enable, e.enable...)
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

// words are the words that are allowed in one place of a command, in upper case. Each has a
// function that takes its arguments.
type words[T any] map[string]func(lx *lexer, to *T)

// take takes one of the words with its arguments. what describes the words, for the error.
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

// once returns a function like take for a list in which no word may occur twice: each occurrence
// could cause another response, or another pass over all messages.
func (w words[T]) once(lx *lexer, to *T, what string) func() {
	return w.each(lx, to, what, func(word []byte) { lx.Fail("%s is given twice.", word) })
}

// repeatable returns a function like take for a list in which a word that occurs again is passed
// over together with its arguments.
func (w words[T]) repeatable(lx *lexer, to *T, what string) func() {
	return w.each(lx, to, what, func(word []byte) { w.taken(lx, word, new(T), what) })
}

// each returns a function like take for a list. It calls again instead for a word that was
// already there, whose arguments come next.
func (w words[T]) each(lx *lexer, to *T, what string, again func(word []byte)) func() {
	var had []string
	return func() {
		word := lx.Word()
		if slices.Contains(had, string(word)) {
			again(word)
			return
		}
		had = append(had, string(word))
		w.taken(lx, word, to, what)
	}
}

// lexer parses commands by the grammar. Methods beyond those of package syntax are in the files
// of the commands that use them.
type lexer struct {
	syntax.Lexer
	grammar *grammar
	message int64 // maximum size of a message for APPEND, in octets
}

// newLexer returns the lexer of a new session.
func newLexer(s *session) *lexer {
	cfg := &s.srv.cfg
	return &lexer{
		Lexer:   syntax.Lexer{Source: s, Continue: s.continueLiteral, Limits: cfg.lexLimits(false)},
		grammar: s.srv.grammar, message: cfg.AppendLimit,
	}
}

// writer writes responses. Methods beyond those of package syntax are in the files of the
// items that use them.
type writer struct{ syntax.Writer }
