package mailbox

import (
	"math/bits"
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Test is a condition on what a view knows of a message without opening its file.
type Test struct {
	Op     TestOp
	Flags  filename.Flags // AnyFlag, NoFlag
	Ranges []Range        // InUIDs, InSeqs; any order
	Tests  []Test         // AllOf, AnyOf; Not: one
}

// TestOp is what a Test checks.
type TestOp uint8

// The operations of a Test.
const (
	AllOf TestOp = iota // true if there are no Tests
	AnyOf
	Not
	AnyFlag // at least one of the flags
	NoFlag
	IsRecent
	InUIDs
	InSeqs
)

// Find returns the messages that pass a test, ascending. It calls check every few hundred
// messages, with the number of messages tested so far; an error from check ends the search.
func (v *View) Find(test *Test, check func(tested int) error) (found []Message, err error) {
	t := v.rowTest(test)
	within := t.within()
	for at := uint32(0); ; at += table.PageRows {
		if within != nil {
			for len(within) > 0 && within[0].to <= at {
				within = within[1:]
			}
			if len(within) == 0 {
				return found, nil
			}
			at = max(at, within[0].from/table.PageRows*table.PageRows)
		}
		var tested uint32
		var more bool
		found, tested, more = v.findIn(found, &t, at)
		if !more {
			return found, nil
		}
		if err := check(int(tested)); err != nil {
			return nil, err
		}
	}
}

// findIn appends the messages of one page that pass the test. tested is the number of
// messages before the page; more is false if the page is beyond the last message.
func (v *View) findIn(found []Message, t *rowTest, at uint32) (_ []Message, tested uint32, more bool) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	tab := v.m.t
	if at >= v.known {
		return found, 0, false
	}
	i, _ := slices.BinarySearch(v.gone, at)
	tested = tab.Before(at) + uint32(i)
	if (i == len(v.gone) || v.gone[i] >= at+table.PageRows) && t.fails(tab.PageCounts(at)) {
		return found, tested, true // without reading the page's rows
	}
	rows, present := tab.Page(at)
	shown := v.rowsIn(present, at)
	passed := t.passed(v, rows, at)
	passed.and(&shown)
	recent := rowsOf(v.recent, at)
	if n := passed.count(); n > cap(found)-len(found) {
		found = slices.Grow(found, max(n, len(found)))
	}
	seq := tested + 1
	for w, word := range passed {
		for ; word != 0; word &= word - 1 {
			k := bits.TrailingZeros64(word)
			r := &rows[64*w+k]
			found = append(found, Message{
				Seq: seq + uint32(bits.OnesCount64(shown[w]&(1<<k-1))), UID: r.UID, Flags: r.Flags,
				Recent: recent[w]>>k&1 != 0, ModSeq: r.ModSeq, row: at + uint32(64*w+k),
			})
		}
		seq += uint32(bits.OnesCount64(shown[w]))
	}
	return found, tested, true
}

// rowsIn returns the rows of a page that the view shows, given those that are present.
func (v *View) rowsIn(present rowSet, at uint32) rowSet {
	s := present
	if v.known < at+table.PageRows {
		below := rowsBetween(0, v.known-at)
		s.and(&below)
	}
	gone := rowsOf(v.gone, at)
	s.or(&gone)
	return s
}

// rowTest is a Test for one view: numbers of messages are spans of rows, which do not
// change until Updates.
type rowTest struct {
	op    TestOp
	flags filename.Flags
	spans []rowSpan // ascending; they do not overlap
	tests []rowTest
}

// rowSpan is the rows from, up to but not including, to.
type rowSpan struct{ from, to uint32 }

func (v *View) rowTest(test *Test) rowTest {
	t := rowTest{op: test.Op, flags: test.Flags}
	switch test.Op {
	case AllOf, AnyOf, Not:
		t.tests = make([]rowTest, len(test.Tests))
		for i := range test.Tests {
			t.tests[i] = v.rowTest(&test.Tests[i])
		}
	case InUIDs, InSeqs:
		t.spans = []rowSpan{}
		for _, r := range merged(test.Ranges) {
			v.m.mu.RLock()
			from, to := v.rowRange(r, test.Op == InUIDs)
			v.m.mu.RUnlock()
			if from < to {
				t.spans = append(t.spans, rowSpan{from, to})
			}
		}
	}
	return t
}

// within returns spans outside of which no row passes; nil means no bound.
func (t *rowTest) within() []rowSpan {
	if t.op == AllOf {
		for i := range t.tests {
			if spans := t.tests[i].within(); spans != nil {
				return spans
			}
		}
	}
	return t.spans
}

// fails reports whether the page's counts show that no present row of the page passes.
func (t *rowTest) fails(c table.Counts) bool {
	switch t.op {
	case NoFlag:
		return t.flags&filename.Seen != 0 && c.Unseen == 0
	case AnyFlag:
		return t.flags == filename.Deleted && c.Deleted == 0
	case AllOf, AnyOf:
		for i := range t.tests {
			if fails := t.tests[i].fails(c); fails == (t.op == AllOf) {
				return fails
			}
		}
		return t.op == AnyOf
	}
	return c.Present == 0
}

// passed returns the rows of a page that pass the test, and possibly rows that the view
// does not have.
func (t *rowTest) passed(v *View, rows []table.Row, at uint32) (s rowSet) {
	switch t.op {
	case AllOf:
		s = rowsBetween(0, table.PageRows)
		for i := range t.tests {
			one := t.tests[i].passed(v, rows, at)
			if s.and(&one); s == (rowSet{}) {
				break
			}
		}
	case AnyOf:
		for i := range t.tests {
			one := t.tests[i].passed(v, rows, at)
			s.or(&one)
		}
	case Not:
		s = t.tests[0].passed(v, rows, at)
		s.invert()
	case AnyFlag:
		s = rowsWith(rows, t.flags)
	case NoFlag:
		s = rowsWith(rows, t.flags)
		s.invert()
	case IsRecent:
		s = rowsOf(v.recent, at)
	case InUIDs, InSeqs:
		i, _ := slices.BinarySearchFunc(t.spans, at, func(span rowSpan, at uint32) int { return int(int64(span.to) - int64(at) - 1) })
		for ; i < len(t.spans) && t.spans[i].from < at+table.PageRows; i++ {
			one := rowsBetween(max(t.spans[i].from, at)-at, min(t.spans[i].to, at+table.PageRows)-at)
			s.or(&one)
		}
	}
	return s
}

// rowsWith returns the rows of a page that have at least one of the flags.
func rowsWith(rows []table.Row, flags filename.Flags) (s rowSet) {
	for w := range s {
		part := rows[min(64*w, len(rows)):min(64*(w+1), len(rows))]
		var word uint64
		for k := range part {
			var has uint64
			if part[k].Flags&flags != 0 {
				has = 1
			}
			word |= has << k
		}
		s[w] = word
	}
	return s
}

// rowSet is a set of rows of one page, one bit each.
type rowSet [table.PageRows / 64]uint64

// rowsOf returns those of the given rows, which ascend, that are in the page starting at
// row at.
func rowsOf(rows []uint32, at uint32) (s rowSet) {
	if len(rows) == 0 {
		return s
	}
	i, _ := slices.BinarySearch(rows, at)
	for ; i < len(rows) && rows[i] < at+table.PageRows; i++ {
		k := rows[i] - at
		s[k/64] |= 1 << (k % 64)
	}
	return s
}

// rowsBetween returns the rows from, up to but not including, to, counted within the page.
func rowsBetween(from, to uint32) (s rowSet) {
	for w := range s {
		first := uint32(64 * w)
		if lo, hi := max(from, first), min(to, first+64); lo < hi {
			s[w] = ^uint64(0) >> (64 - (hi - lo)) << (lo - first)
		}
	}
	return s
}

func (s *rowSet) and(t *rowSet) {
	for w := range s {
		s[w] &= t[w]
	}
}

func (s *rowSet) or(t *rowSet) {
	for w := range s {
		s[w] |= t[w]
	}
}

func (s *rowSet) invert() {
	for w := range s {
		s[w] = ^s[w]
	}
}

func (s *rowSet) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}
