package imap

import (
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/casemap"
	"maildird/server/imap/syntax"
)

// searchOp is what a searchKey asks.
type searchOp uint8

const (
	searchAnd searchOp = iota // all of the keys; none of them is ALL
	searchOr
	searchNot
	searchFlag    // any of the flags
	searchNotFlag // none of the flags
	searchKeyword
	searchRecent
	searchSeq
	searchUID
	searchLarger
	searchSmaller
	searchBefore // these three in this order
	searchOn
	searchSince
	searchSentBefore // and these
	searchSentOn
	searchSentSince
	searchText
	searchOwn // of an extension
)

// searchKey is a node of what SEARCH asks for, as the client wrote it.
type searchKey struct {
	op    searchOp
	keys  []searchKey    // searchAnd, searchOr, searchNot (one)
	flags filename.Flags // searchFlag, searchNotFlag
	word  string         // searchKeyword
	set   syntax.NumSet  // searchSeq, searchUID
	n     int64          // searchLarger, searchSmaller: octets; date keys: days since 1970
	probe int            // searchText: index in searchQuery.probes
	own   *ownKey        // searchOwn
}

// ownKey is a key of an extension.
type ownKey struct {
	name string
	cost searchCost
	// matches tests sr.m. With costHeader and above sr.mf is its open file.
	// Several searchers may call it at the same time.
	matches func(sr *searcher) (bool, error)
	// fleeting says that the answer changes while nothing happens.
	fleeting bool
}

// searchWords are the keys of SEARCH, each with what takes its arguments.
type searchWords map[string]func(*searchParser) searchKey

// searchProbe is a string to be found in the text of a message.
type searchProbe struct {
	in     probePlace
	field  string // inField: its name
	people bool   // inField: as ENVELOPE has its addresses counts too
	needle []byte // in the form of casemap.Append
}

// probePlace is where a string is looked for.
type probePlace uint8

const (
	inField probePlace = iota // of the header
	inBody
	inText // header and body
)

// searchQuery is a SEARCH as the client wrote it.
type searchQuery struct {
	options   imap.SearchOptions
	hasReturn bool // RETURN was there
	key       searchKey
	probes    []searchProbe
	partial   *partialRange // nil for none
	update    *searchUpdate // nil for none
	modseq    bool          // MODSEQ is among the keys
	numbers   bool          // sequence numbers are
	named     bool          // the answer has the mailbox (RFC 7377); there is none without a match
	// begin are called before the search.
	begin []func(*session) error
	// more are called to write what else the client asked for to be returned,
	// each with a space before it. They get all that was found.
	more []func(w *writer, found []mailbox.Message, uid bool)
}

// Bounds of what one SEARCH may ask for.
const (
	maxSearchKeys  = 10_000
	maxSearchDepth = 1_000 // of NOT and OR; clients make long chains of them
)

// searchParser takes a SEARCH apart.
type searchParser struct {
	*lexer
	query  searchQuery
	decode func([]byte) ([]byte, error) // from the client's charset to UTF-8
	count  int
	nested int
}

// searchQuery takes the arguments of SEARCH (RFC 9051 section 6.4.4). If utf8
// is set, a charset is not allowed (RFC 9755 section 3).
func (lx *lexer) searchQuery(utf8 bool) searchQuery {
	lx.SP()
	return lx.searchProgram(utf8)
}

// searchProgram is searchQuery without the space before it.
func (lx *lexer) searchProgram(utf8 bool) searchQuery {
	p := searchParser{lexer: lx, decode: decodeUTF8}
	word := lx.PeekWord()
	if syntax.EqualFold(word, "RETURN") {
		lx.Word()
		lx.SP()
		p.returnOptions()
		lx.SP()
		word = lx.PeekWord()
	}
	if syntax.EqualFold(word, "CHARSET") {
		lx.Word()
		lx.SP()
		p.charset(lx.AString(), utf8)
		lx.SP()
	}
	p.query.key = p.list()
	return p.query
}

func (p *searchParser) returnOptions() {
	q := &p.query
	q.hasReturn = true
	p.OptionalList(func() { p.grammar.searchReturn.take(p.lexer, q, "SEARCH option") })
	if q.options == (imap.SearchOptions{}) && q.more == nil && q.update == nil {
		q.options.ReturnAll = true
	}
	if q.options.ReturnAll && q.partial != nil {
		p.Fail("ALL and PARTIAL exclude each other.") // RFC 9394 section 3.1
	}
}

// badCharset refuses a search for its charset (RFC 9051 section 6.4.4).
func badCharset(format string, args ...any) error {
	return no(imap.ResponseCodeBadCharset+" (US-ASCII UTF-8)", format, args...)
}

func (p *searchParser) charset(name []byte, utf8 bool) {
	if utf8 {
		p.Fail("CHARSET is not possible after ENABLE UTF8=ACCEPT.")
	}
	if p.Err() != nil {
		return
	}
	decode, ok := charsetDecoder(string(name))
	if !ok {
		p.FailWith(badCharset("Charset is not known."))
		return
	}
	p.decode = decode
}

// list takes keys up to the end of the line or a parenthesis.
func (p *searchParser) list() searchKey {
	keys := []searchKey{p.key()}
	for p.More() && p.Peek() != ')' {
		keys = append(keys, p.key())
	}
	if len(keys) == 1 {
		return keys[0]
	}
	return searchKey{op: searchAnd, keys: keys}
}

// key takes one key.
func (p *searchParser) key() searchKey {
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
		return searchKey{op: searchSeq, set: p.NumSet()}
	}
	word := p.Word()
	if take, ok := p.grammar.searchKeys[string(word)]; ok {
		return take(p)
	}
	p.Fail("Unknown search key %.40s.", word)
	return searchKey{}
}

// dayOf numbers the days as the calendar has them in the zone of t.
func dayOf(t time.Time) int64 {
	const day = 24 * 60 * 60
	_, zone := t.Zone()
	here := t.Unix() + int64(zone)
	return (here - (here%day+day)%day) / day
}

// operand takes a key of NOT or OR.
func (p *searchParser) operand() searchKey {
	if p.nested++; p.nested > maxSearchDepth {
		p.Fail("Too many nested search keys.")
		return searchKey{}
	}
	p.SP()
	key := p.key()
	p.nested--
	return key
}

// appendOr appends an alternative, or the alternatives that it is made of.
func appendOr(keys []searchKey, key searchKey) []searchKey {
	if key.op == searchOr {
		return append(keys, key.keys...)
	}
	return append(keys, key)
}

// probe takes the string of a key that looks for text.
func (p *searchParser) probe(in probePlace, field string) searchKey {
	p.SP()
	raw := p.AString()
	if p.Err() != nil {
		return searchKey{}
	}
	text, err := p.decode(raw)
	if err != nil {
		// Not BAD: after UTF8=ACCEPT, JavaMail 1.6 and Angus Mail 2 send Latin-1. After
		// NO they search the messages themselves, BAD is an error for their users.
		p.FailWith(badCharset("Search string is not in its charset: %s.", err))
		return searchKey{}
	}
	if len(text) == 0 && in != inField {
		return searchKey{} // the empty string is in any text
	}
	if in == inField {
		text = appendOneSpaced(nil, text)
	}
	p.query.probes = append(p.query.probes, searchProbe{in: in, field: field, needle: casemap.Append(nil, text)})
	return searchKey{op: searchText, probe: len(p.query.probes) - 1}
}

// String gives the key in prefix form, for tests and logs. It has no text that
// the client looks for.
func (k searchKey) String() string {
	switch k.op {
	case searchAnd, searchOr, searchNot:
		return fmt.Sprint([...]string{"and", "or", "not"}[k.op], k.keys)
	case searchFlag:
		return fmt.Sprintf("flag:%x", uint32(k.flags))
	case searchNotFlag:
		return fmt.Sprintf("notflag:%x", uint32(k.flags))
	case searchKeyword:
		return "keyword:" + k.word
	case searchRecent:
		return "recent"
	case searchSeq, searchUID:
		return fmt.Sprint([...]string{"seq", "uid"}[k.op-searchSeq], k.set.Ranges)
	case searchText:
		return fmt.Sprintf("text:%d", k.probe)
	case searchOwn:
		return k.own.name
	}
	return fmt.Sprintf("%d:%d", k.op, k.n)
}
