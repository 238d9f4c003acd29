package imap

import (
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// sortExtension is SORT (RFC 5256) with the display names of RFC 5957, the options of ESORT
// (RFC 5267 section 3), and I18NLEVEL=1 (RFC 5255 section 4.3): SEARCH, SORT and THREAD
// compare text by i;unicode-casemap.
func sortExtension() extension {
	criteria := sortCriteria()
	run := func(s *session, uid bool) error { return s.sort(criteria, uid) }
	return extension{
		caps: []imap.Cap{imap.CapSort, imap.CapSortDisplay, imap.CapESort, "I18NLEVEL=1"},
		commands: []command{
			{name: "SORT", in: selected, news: noExpunges, numbers: true, run: bySeq(run)},
			{name: "UID SORT", in: selected, news: allNews, run: byUID(run)},
		},
	}
}

// sort is SORT and UID SORT.
func (s *session) sort(criteria map[string]*sortCriterion, uid bool) error {
	keys, query := s.lx.sortArguments(criteria)
	err := s.lx.End()
	if err == nil {
		err = s.answerSort(keys, &query, uid)
	}
	return s.unsave(&query, err)
}

// answerSort searches the selected mailbox and writes the sorted result.
func (s *session) answerSort(keys []sortKey, query *searchQuery, uid bool) error {
	sr, err := query.searcher(s)
	if err != nil {
		return err
	}
	defer sr.Close()
	found, err := sr.All()
	if err != nil {
		return err
	}
	reader := newHeaderReader(s, sr.omissions)
	defer reader.close()
	if found, err = reader.sorted(found, keys); err != nil {
		return err
	}
	failed := reader.result()
	if failed == nil {
		s.keepUpdated(query, found, uid, keys)
	}
	if query.options.ReturnSave {
		s.sel.saved = query.saved(found)
	}
	if query.hasReturn {
		s.esearchResponse(found, uid, query)
	} else {
		s.w.numbers("SORT", found, uid, query)
	}
	return failed
}

// sortArguments takes the arguments of SORT.
func (lx *lexer) sortArguments(criteria map[string]*sortCriterion) ([]sortKey, searchQuery) {
	p := searchParser{lexer: lx, decode: decodeUTF8}
	lx.SP()
	p.returnOptions()
	keys := lx.sortKeys(criteria)
	lx.SP()
	// SORT requires a charset, so it is allowed even after ENABLE UTF8=ACCEPT.
	p.charset(lx.AString(), false)
	lx.SP()
	p.query.program.Key = p.list()
	return keys, p.query
}

// sortKeys takes the list of sort criteria.
func (lx *lexer) sortKeys(criteria map[string]*sortCriterion) []sortKey {
	var keys []sortKey
	reverse := false
	lx.List(func() {
		word := lx.Word()
		if string(word) == "REVERSE" && !reverse {
			reverse = true
			return
		}
		by := criteria[string(word)]
		if by == nil {
			lx.Fail("Unknown sort criterion %.40s.", word)
		}
		if !slices.ContainsFunc(keys, func(k sortKey) bool { return k.by == by }) {
			keys = append(keys, sortKey{by, reverse}) // repeating a criterion has no effect
		}
		reverse = false
	})
	if reverse {
		lx.Fail("REVERSE must be followed by a sort criterion.")
	}
	return keys
}

// numbers writes "* NAME n n n", with the highest mod-sequence if the client searched
// for one (RFC 7162 section 3.1.6).
func (w *writer) numbers(name string, found []mailbox.Message, uid bool, q *searchQuery) {
	w.Raw("* ")
	w.Raw(name)
	for _, m := range found {
		w.Put(strconv.AppendUint(append(w.Reserve(16), ' '), uint64(numberOf(m, uid)), 10))
	}
	if q.modseqs != nil && len(found) > 0 {
		w.Raw(" (MODSEQ ")
		w.Number(q.highestOf(found))
		w.Byte(')')
	}
	w.CRLF()
}
