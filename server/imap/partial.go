package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// partialExtension is PARTIAL (RFC 9394): a range of a result, counted from its beginning or
// its end. No state is kept between two requests.
func partialExtension() extension {
	return extension{
		caps: []imap.Cap{"PARTIAL"},
		searchReturn: words[searchQuery]{"PARTIAL": func(lx *lexer, q *searchQuery) {
			lx.SP()
			r := lx.partialRange()
			q.partial = &r
			q.more = append(q.more, func(w *writer, found []mailbox.Message, uid bool) { w.partialResult(r, found, uid) })
		}},
		fetchParams: words[fetchItems]{"PARTIAL": func(lx *lexer, items *fetchItems) {
			lx.SP()
			r := lx.partialRange()
			var of mailbox.Range // UIDs
			items.begin = append(items.begin, func(s *session, set syntax.NumSet) error {
				msgs, err := s.messages(set, items.byUID)
				if err != nil {
					return err
				}
				var found []mailbox.Message
				for m := range msgs {
					found = append(found, m)
				}
				of = mailbox.Range{First: 1}
				if found = r.of(found); len(found) > 0 {
					of = mailbox.Range{First: found[0].UID, Last: found[len(found)-1].UID}
				}
				return nil
			})
			items.filters = append(items.filters, func(m mailbox.Message) bool { return of.First <= m.UID && m.UID <= of.Last })
		}},
	}
}

// partialRange is "first:last", with the lower number first, counted from 1; with fromEnd,
// counted from the end.
type partialRange struct {
	first, last uint32
	fromEnd     bool
}

// partialRange takes "1:500" or "-1:-500", in either order.
func (lx *lexer) partialRange() partialRange {
	r := partialRange{fromEnd: lx.Accept('-')}
	r.first = lx.NZNumber()
	lx.Expect(':')
	if lx.Accept('-') != r.fromEnd {
		lx.Fail("Both ends of a PARTIAL range must have the same sign.")
	}
	r.last = lx.NZNumber()
	r.first, r.last = min(r.first, r.last), max(r.first, r.last)
	return r
}

// of returns the messages of a result that are in the range.
func (r partialRange) of(found []mailbox.Message) []mailbox.Message {
	n := uint32(len(found))
	if r.first > n {
		return nil
	}
	last := min(r.last, n)
	if r.fromEnd {
		return found[n-last : n-r.first+1]
	}
	return found[r.first-1 : last]
}

// partialResult writes " PARTIAL (range set)" (RFC 9394 section 4), the lower number first, as
// Dovecot does, whichever came first in the command.
func (w *writer) partialResult(r partialRange, found []mailbox.Message, uid bool) {
	number := func(n uint32) {
		if r.fromEnd {
			w.Byte('-')
		}
		w.Number(uint64(n))
	}
	w.Raw(" PARTIAL (")
	number(r.first)
	w.Byte(':')
	number(r.last)
	w.SP()
	found = r.of(found)
	if len(found) == 0 {
		w.Raw("NIL)")
		return
	}
	w.RawBytes(setOf(found, uid))
	w.Byte(')')
}
