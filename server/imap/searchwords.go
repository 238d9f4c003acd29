package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/filename"
	"maildird/server/imap/search"
)

// searchExtension is SEARCH with the keys of IMAP4rev1, and with ESEARCH (RFC
// 4731) and SEARCHRES (RFC 5182).
func searchExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapESearch, imap.CapSearchRes},
		commands: []command{
			{name: "SEARCH", in: selected, news: noExpunges, numbers: true, run: bySeq((*session).search)},
			{name: "UID SEARCH", in: selected, news: allNews, run: byUID((*session).search)},
		},
		searchReturn: words[searchQuery]{
			"MIN":   func(_ *lexer, q *searchQuery) { q.options.ReturnMin = true },
			"MAX":   func(_ *lexer, q *searchQuery) { q.options.ReturnMax = true },
			"ALL":   func(_ *lexer, q *searchQuery) { q.options.ReturnAll = true },
			"COUNT": func(_ *lexer, q *searchQuery) { q.options.ReturnCount = true },
			"SAVE":  func(_ *lexer, q *searchQuery) { q.options.ReturnSave = true },
		},
		searchKeys: plainSearchKeys(),
	}
}

// plainSearchKeys returns the keys of RFC 3501 section 6.4.4. Those of extensions are in the
// files of the extensions.
func plainSearchKeys() searchWords {
	return searchWords{
		"ALL":        plainKey(search.Key{}),
		"ANSWERED":   plainKey(search.Key{Op: search.AnyFlag, Flags: filename.Answered}),
		"DELETED":    plainKey(search.Key{Op: search.AnyFlag, Flags: filename.Deleted}),
		"DRAFT":      plainKey(search.Key{Op: search.AnyFlag, Flags: filename.Draft}),
		"FLAGGED":    plainKey(search.Key{Op: search.AnyFlag, Flags: filename.Flagged}),
		"SEEN":       plainKey(search.Key{Op: search.AnyFlag, Flags: filename.Seen}),
		"UNANSWERED": plainKey(search.Key{Op: search.NoFlag, Flags: filename.Answered}),
		"UNDELETED":  plainKey(search.Key{Op: search.NoFlag, Flags: filename.Deleted}),
		"UNDRAFT":    plainKey(search.Key{Op: search.NoFlag, Flags: filename.Draft}),
		"UNFLAGGED":  plainKey(search.Key{Op: search.NoFlag, Flags: filename.Flagged}),
		"UNSEEN":     plainKey(search.Key{Op: search.NoFlag, Flags: filename.Seen}),
		"RECENT":     plainKey(search.Key{Op: search.Recent}),
		"OLD":        plainKey(search.Key{Op: search.Not, Keys: []search.Key{{Op: search.Recent}}}),
		"NEW": plainKey(search.Key{Op: search.And,
			Keys: []search.Key{{Op: search.Recent}, {Op: search.NoFlag, Flags: filename.Seen}}}),
		"KEYWORD":    (*searchParser).keyword,
		"UNKEYWORD":  func(p *searchParser) search.Key { return search.Key{Op: search.Not, Keys: []search.Key{p.keyword()}} },
		"BEFORE":     dateKey(search.Before),
		"ON":         dateKey(search.On),
		"SINCE":      dateKey(search.Since),
		"SENTBEFORE": dateKey(search.SentBefore),
		"SENTON":     dateKey(search.SentOn),
		"SENTSINCE":  dateKey(search.SentSince),
		"LARGER":     sizeKey(search.Larger),
		"SMALLER":    sizeKey(search.Smaller),
		"BCC":        peopleKey("BCC"),
		"CC":         peopleKey("CC"),
		"FROM":       peopleKey("FROM"),
		"SUBJECT":    fieldKey("SUBJECT"),
		"TO":         peopleKey("TO"),
		"HEADER": func(p *searchParser) search.Key {
			p.SP()
			return p.probe(search.InField, string(p.AString()))
		},
		"BODY": func(p *searchParser) search.Key { return p.probe(search.InBody, "") },
		"TEXT": func(p *searchParser) search.Key { return p.probe(search.InText, "") },
		"UID": func(p *searchParser) search.Key {
			key := search.Key{Op: search.UID}
			p.SP()
			p.InQuotes(func() { key.Set = p.NumSet() })
			return key
		},
		"NOT": func(p *searchParser) search.Key { return search.Key{Op: search.Not, Keys: []search.Key{p.operand()}} },
		"OR": func(p *searchParser) search.Key {
			return search.Key{Op: search.Or, Keys: appendOr(appendOr(nil, p.operand()), p.operand())}
		},
	}
}

func plainKey(key search.Key) func(*searchParser) search.Key {
	return func(*searchParser) search.Key { return key }
}

func dateKey(op search.Op) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		p.SP()
		return search.Key{Op: op, N: search.DayOf(p.Date())}
	}
}

func sizeKey(op search.Op) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		key := search.Key{Op: op}
		p.SP()
		p.InQuotes(func() { key.N = int64(p.Number64()) })
		return key
	}
}

func fieldKey(field string) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key { return p.probe(search.InField, field) }
}

// peopleKey looks for text "in the envelope structure's FROM field" and the like (RFC 9051
// section 6.4.4), and in the raw header field.
func peopleKey(field string) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		key := p.probe(search.InField, field)
		if key.Op == search.Text {
			p.query.program.Probes[key.Probe].People = true
		}
		return key
	}
}

// keyword takes the argument of KEYWORD and UNKEYWORD. It is an atom; beyond the grammar, a
// string is accepted, which SnappyMail 2.38 sends and Dovecot accepts.
func (p *searchParser) keyword() search.Key {
	p.SP()
	var word []byte
	if c := p.Peek(); c == '"' || c == '{' {
		word = p.Str()
	} else {
		word = p.AtomAs("a keyword")
	}
	return search.Key{Op: search.Keyword, Word: string(word)}
}
