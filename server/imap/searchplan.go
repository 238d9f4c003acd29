package imap

import (
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// searchCost is what it costs to answer a key for one message.
type searchCost uint8

const (
	costNothing searchCost = iota // the view knows
	costStat                      // size, INTERNALDATE
	costHeader                    // the header has to be read
	costBody                      // the whole message has to be read
	costs
)

// searchTest is a key made ready for one mailbox: keywords are letters, number
// sets are ranges, and what is cheap comes first.
type searchTest struct {
	op     searchOp
	cost   searchCost // the most that an answer may cost
	tests  []searchTest
	flags  filename.Flags
	ranges []mailbox.Range // sorted, none overlaps another
	n      int64
	probe  int
	own    *ownKey
}

// searchPlan is a SEARCH made ready for one mailbox.
type searchPlan struct {
	test   searchTest
	known  *mailbox.Test // the same, if the view can answer it; else nil
	probes []searchProbe
	// Every match is among these messages.
	ranges []mailbox.Range
	uid    bool // which are UIDs
}

// plan makes a query ready. saved is what "$" stands for.
func (q *searchQuery) plan(view *mailbox.View, saved []mailbox.Range) *searchPlan {
	b := planner{view: view, saved: saved, probes: q.probes}
	p := &searchPlan{test: b.test(&q.key), probes: q.probes}
	if known, ok := p.test.known(); ok {
		p.known = &known
	}
	p.ranges, p.uid = []mailbox.Range{{First: 1, Last: ^uint32(0)}}, true
	tests := []searchTest{p.test}
	if p.test.op == searchAnd {
		tests = p.test.tests
	}
	for _, t := range tests {
		if t.op == searchSeq || t.op == searchUID {
			p.ranges, p.uid = t.ranges, t.op == searchUID
			break
		}
	}
	return p
}

// known gives the test in the view's terms, ok false if it asks for more than
// the view knows.
func (t *searchTest) known() (k mailbox.Test, ok bool) {
	k = mailbox.Test{Flags: t.flags, Ranges: t.ranges}
	switch t.op {
	case searchAnd:
		k.Op = mailbox.AllOf
	case searchOr:
		k.Op = mailbox.AnyOf
	case searchNot:
		k.Op = mailbox.Not
	case searchFlag:
		k.Op = mailbox.AnyFlag
	case searchNotFlag:
		k.Op = mailbox.NoFlag
	case searchRecent:
		k.Op = mailbox.IsRecent
	case searchUID:
		k.Op = mailbox.InUIDs
	case searchSeq:
		k.Op = mailbox.InSeqs
	default:
		return k, false
	}
	k.Tests = make([]mailbox.Test, len(t.tests))
	for i := range t.tests {
		if k.Tests[i], ok = t.tests[i].known(); !ok {
			return k, false
		}
	}
	return k, true
}

// planner turns keys into tests of the messages of one view.
type planner struct {
	view   *mailbox.View
	saved  []mailbox.Range
	probes []searchProbe
}

// test makes a key ready, and those that it is made of.
func (b *planner) test(k *searchKey) searchTest {
	t := searchTest{op: k.op, flags: k.flags, n: k.n, probe: k.probe, own: k.own}
	switch k.op {
	case searchAnd, searchOr, searchNot:
		t.tests = make([]searchTest, len(k.keys))
		for i := range k.keys {
			t.tests[i] = b.test(&k.keys[i])
			t.cost = max(t.cost, t.tests[i].cost)
		}
		slices.SortStableFunc(t.tests, func(x, y searchTest) int { return int(x.cost) - int(y.cost) })
	case searchKeyword:
		t.op, t.flags = searchFlag, b.keyword(k.word)
	case searchSeq:
		t.ranges = b.ranges(k.set, b.view.Exists())
		if k.set.Saved {
			t.op = searchUID
		}
	case searchUID:
		t.ranges = b.ranges(k.set, b.view.LastUID())
	case searchText:
		t.cost = costBody
		if b.probes[k.probe].in == inField {
			t.cost = costHeader
		}
	case searchSentBefore, searchSentOn, searchSentSince:
		t.cost = costHeader
	case searchLarger, searchSmaller, searchBefore, searchOn, searchSince:
		t.cost = costStat
	case searchOwn:
		t.cost = k.own.cost
	}
	return t
}

// keyword returns the flags that show a keyword.
func (b *planner) keyword(word string) (f filename.Flags) {
	if i, ok := b.view.KeywordIndex(word); ok {
		f = filename.Keyword(i)
	}
	if syntax.EqualFold([]byte(word), "$Forwarded") {
		f |= filename.Passed
	}
	return f
}

// ranges sorts and joins the ranges of a set.
func (b *planner) ranges(set syntax.NumSet, last uint32) []mailbox.Range {
	if set.Saved {
		return b.saved
	}
	ranges := set.Resolve(last)
	slices.SortFunc(ranges, func(x, y mailbox.Range) int {
		switch {
		case x.First < y.First:
			return -1
		case x.First > y.First:
			return 1
		}
		return 0
	})
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && r.First <= out[n-1].Last {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// inRanges tells whether a number is in sorted ranges.
func inRanges(ranges []mailbox.Range, n uint32) bool {
	lo, hi := 0, len(ranges)
	for lo < hi {
		mid := (lo + hi) / 2
		if ranges[mid].Last < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(ranges) && ranges[lo].First <= n
}

// answer is what is known of a test: its order makes "all of" the least and
// "any of" the greatest of the answers.
type answer int8

const (
	isFalse answer = -1
	isOpen  answer = 0 // not known at this cost
	isTrue  answer = 1
)

func answerOf(b bool) answer {
	if b {
		return isTrue
	}
	return isFalse
}
