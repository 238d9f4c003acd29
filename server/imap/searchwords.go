package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/filename"
)

// searchExtension is SEARCH with the keys of IMAP4rev1, and with ESEARCH (RFC
// 4731) and SEARCHRES (RFC 5182).
func searchExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapESearch, imap.CapSearchRes},
		commands: []command{
			{name: "SEARCH", in: selected, news: noExpunges, numbers: true, run: runSearch},
			{name: "UID SEARCH", in: selected, news: allNews, run: runUIDSearch},
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

// plainSearchKeys are the keys of RFC 3501 section 6.4.4. Those of extensions
// stand with their extensions.
func plainSearchKeys() searchWords {
	return searchWords{
		"ALL":        plainKey(searchKey{}),
		"ANSWERED":   plainKey(searchKey{op: searchFlag, flags: filename.Answered}),
		"DELETED":    plainKey(searchKey{op: searchFlag, flags: filename.Deleted}),
		"DRAFT":      plainKey(searchKey{op: searchFlag, flags: filename.Draft}),
		"FLAGGED":    plainKey(searchKey{op: searchFlag, flags: filename.Flagged}),
		"SEEN":       plainKey(searchKey{op: searchFlag, flags: filename.Seen}),
		"UNANSWERED": plainKey(searchKey{op: searchNotFlag, flags: filename.Answered}),
		"UNDELETED":  plainKey(searchKey{op: searchNotFlag, flags: filename.Deleted}),
		"UNDRAFT":    plainKey(searchKey{op: searchNotFlag, flags: filename.Draft}),
		"UNFLAGGED":  plainKey(searchKey{op: searchNotFlag, flags: filename.Flagged}),
		"UNSEEN":     plainKey(searchKey{op: searchNotFlag, flags: filename.Seen}),
		"RECENT":     plainKey(searchKey{op: searchRecent}),
		"OLD":        plainKey(searchKey{op: searchNot, keys: []searchKey{{op: searchRecent}}}),
		"NEW": plainKey(searchKey{op: searchAnd,
			keys: []searchKey{{op: searchRecent}, {op: searchNotFlag, flags: filename.Seen}}}),
		"KEYWORD":    (*searchParser).keyword,
		"UNKEYWORD":  func(p *searchParser) searchKey { return searchKey{op: searchNot, keys: []searchKey{p.keyword()}} },
		"BEFORE":     dateKey(searchBefore),
		"ON":         dateKey(searchOn),
		"SINCE":      dateKey(searchSince),
		"SENTBEFORE": dateKey(searchSentBefore),
		"SENTON":     dateKey(searchSentOn),
		"SENTSINCE":  dateKey(searchSentSince),
		"LARGER":     sizeKey(searchLarger),
		"SMALLER":    sizeKey(searchSmaller),
		"BCC":        peopleKey("BCC"),
		"CC":         peopleKey("CC"),
		"FROM":       peopleKey("FROM"),
		"SUBJECT":    fieldKey("SUBJECT"),
		"TO":         peopleKey("TO"),
		"HEADER": func(p *searchParser) searchKey {
			p.SP()
			return p.probe(inField, string(p.AString()))
		},
		"BODY": func(p *searchParser) searchKey { return p.probe(inBody, "") },
		"TEXT": func(p *searchParser) searchKey { return p.probe(inText, "") },
		"UID": func(p *searchParser) searchKey {
			p.SP()
			return searchKey{op: searchUID, set: p.NumSet()}
		},
		"NOT": func(p *searchParser) searchKey { return searchKey{op: searchNot, keys: []searchKey{p.operand()}} },
		"OR": func(p *searchParser) searchKey {
			return searchKey{op: searchOr, keys: appendOr(appendOr(nil, p.operand()), p.operand())}
		},
	}
}

func plainKey(key searchKey) func(*searchParser) searchKey {
	return func(*searchParser) searchKey { return key }
}

func dateKey(op searchOp) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey {
		p.SP()
		return searchKey{op: op, n: dayOf(p.Date())}
	}
}

func sizeKey(op searchOp) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey {
		p.SP()
		return searchKey{op: op, n: int64(p.Number64())}
	}
}

func fieldKey(field string) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey { return p.probe(inField, field) }
}

// peopleKey looks for text "in the envelope structure's FROM field" and the like (RFC
// 9051 section 6.4.4), and in the field as it stands there.
func peopleKey(field string) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey {
		key := p.probe(inField, field)
		if key.op == searchText {
			p.query.probes[key.probe].people = true
		}
		return key
	}
}

func (p *searchParser) keyword() searchKey {
	p.SP()
	return searchKey{op: searchKeyword, word: string(p.Atom())}
}
