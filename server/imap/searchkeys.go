package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/search"
	"maildird/server/imap/syntax"
)

// searchWords are the search keys. Each has a function that takes its arguments.
type searchWords map[string]func(*searchParser) search.Key

// searchQuery is a search command as parsed.
type searchQuery struct {
	options   imap.SearchOptions
	hasReturn bool // the command has RETURN
	program   search.Program
	partial   *partialRange // nil for none
	update    *searchUpdate // nil for none
	modseqs   []*modSeqArg  // of the keys MODSEQ
	numbers   bool          // sequence numbers are used
	named     bool          // the response names the mailbox (RFC 7377), and is omitted without a match
	// begin are called before the search.
	begin []func(*session) error
	// more write further return data, each with a space before it. They get all
	// messages that were found.
	more []func(w *writer, found []mailbox.Message, uid bool)
}

// Limits of one search command.
const (
	maxSearchKeys  = 10_000
	maxSearchDepth = 1_000 // of NOT and OR, of which clients make long chains
)

// searchParser parses a search command.
type searchParser struct {
	*lexer
	query  searchQuery
	decode func([]byte) ([]byte, error) // converts strings from the client's charset to UTF-8
	count  int
	nested int
}

// searchQuery takes the arguments of SEARCH (RFC 9051 section 6.4.4). With utf8, CHARSET is not
// allowed (RFC 9755 section 3).
func (lx *lexer) searchQuery(utf8 bool) searchQuery {
	lx.SP()
	return lx.searchProgram(utf8)
}

// searchProgram is searchQuery without the leading space.
func (lx *lexer) searchProgram(utf8 bool) searchQuery {
	p := searchParser{lexer: lx, decode: decodeUTF8}
	p.returnOptions()
	if lx.acceptWord("CHARSET") {
		p.charset(lx.AString(), utf8)
		lx.SP()
	}
	p.query.program.Key = p.list()
	return p.query
}

// acceptWord takes a word and the space after it, if they come next.
func (lx *lexer) acceptWord(word string) bool {
	if !syntax.EqualFold(lx.PeekWord(), word) {
		return false
	}
	lx.Word()
	lx.SP()
	return true
}

// returnOptions takes "RETURN (...) ", if it comes next.
func (p *searchParser) returnOptions() {
	if !p.acceptWord("RETURN") {
		return
	}
	q := &p.query
	q.hasReturn = true
	p.OptionalList(p.grammar.searchReturn.once(p.lexer, q, "SEARCH option"))
	if q.options == (imap.SearchOptions{}) && q.more == nil && q.update == nil {
		q.options.ReturnAll = true
	}
	if q.options.ReturnAll && q.partial != nil {
		p.Fail("ALL and PARTIAL cannot be combined.") // RFC 9394 section 3.1
	}
	p.SP()
}

// badCharset returns the error of a search whose charset is unknown or violated
// (RFC 9051 section 6.4.4).
func badCharset(format string, args ...any) error {
	return no(imap.ResponseCodeBadCharset+" (US-ASCII UTF-8)", format, args...)
}

func (p *searchParser) charset(name []byte, utf8 bool) {
	if utf8 {
		p.Fail("CHARSET is not allowed after ENABLE UTF8=ACCEPT.")
	}
	if p.Err() != nil {
		return
	}
	if len(name) == 0 {
		return // PHP's imap_search sends an empty name if there is no charset; Dovecot accepts it
	}
	decode, ok := charsetDecoder(string(name))
	if !ok {
		p.FailWith(badCharset("Unknown charset."))
		return
	}
	p.decode = decode
}

// list takes keys up to the end of the line or a closing parenthesis.
func (p *searchParser) list() search.Key {
	keys := []search.Key{p.key()}
	for p.More() && p.Peek() != ')' {
		keys = append(keys, p.key())
	}
	if len(keys) == 1 {
		return keys[0]
	}
	return search.Key{Op: search.And, Keys: keys}
}

// key takes a key.
func (p *searchParser) key() search.Key {
	if p.count++; p.count > maxSearchKeys {
		p.Fail("Too many search keys.")
	}
	switch c := p.Peek(); {
	case c == '(':
		p.Enter()
		key := p.list()
		p.Leave()
		return key
	case c >= '0' && c <= '9' || c == '*' || c == '$':
		p.query.numbers = p.query.numbers || c != '$'
		return search.Key{Op: search.Seq, Set: p.NumSet()}
	}
	word := p.Word()
	if take, ok := p.grammar.searchKeys[string(word)]; ok {
		return take(p)
	}
	p.Fail("Unknown search key %.40s.", word)
	return search.Key{}
}

// operand takes an operand of NOT or OR.
func (p *searchParser) operand() search.Key {
	if p.nested++; p.nested > maxSearchDepth {
		p.Fail("Too many nested search keys.")
		return search.Key{}
	}
	p.SP()
	key := p.key()
	p.nested--
	return key
}

// appendOr appends an alternative. If that is an OR itself, it appends its alternatives.
func appendOr(keys []search.Key, key search.Key) []search.Key {
	if key.Op == search.Or {
		return append(keys, key.Keys...)
	}
	return append(keys, key)
}

// probe takes the string of a key that looks for text.
func (p *searchParser) probe(in search.Place, field string) search.Key {
	p.SP()
	raw := p.AString()
	if p.Err() != nil {
		return search.Key{}
	}
	text, err := p.decode(raw)
	if err != nil {
		// Not BAD: after ENABLE UTF8=ACCEPT, JavaMail 1.6 and Angus Mail 2 send Latin-1. On NO
		// they search the messages themselves; BAD becomes an error for their users.
		p.FailWith(badCharset("Search string is not valid in its charset: %s.", err))
		return search.Key{}
	}
	if len(text) == 0 && in != search.InField {
		return search.Key{} // every text contains the empty string
	}
	probes := &p.query.program.Probes
	*probes = append(*probes, search.NewProbe(in, field, text))
	return search.Key{Op: search.Text, Probe: len(*probes) - 1}
}
