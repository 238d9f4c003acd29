package search

import (
	"cmp"
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// test is a key prepared for a mailbox: keywords are flags, sets are ranges, and
// cheap tests come first.
type test struct {
	op     Op
	cost   Cost // maximum cost of an answer
	tests  []test
	flags  filename.Flags
	ranges []mailbox.Range // sorted, without overlaps
	n      int64
	probe  int
	own    *ExtensionKey
}

// plan is a search prepared for a mailbox.
type plan struct {
	test   test
	known  *mailbox.Test // the same test, if the view can perform it; else nil
	probes []Probe
	// All matches are among these messages.
	ranges []mailbox.Range
	uid    bool // ranges are of UIDs
}

// plan prepares a program. saved is the value of "$".
func (q *Program) plan(view *mailbox.View, saved []mailbox.Range) *plan {
	b := planner{view: view, saved: saved, probes: q.Probes}
	p := &plan{test: b.test(&q.Key), probes: q.Probes}
	if known, ok := p.test.known(); ok {
		p.known = &known
	}
	p.ranges, p.uid = []mailbox.Range{{First: 1, Last: ^uint32(0)}}, true
	tests := []test{p.test}
	if p.test.op == And {
		tests = p.test.tests
	}
	for _, t := range tests {
		if t.op == Seq || t.op == UID {
			p.ranges, p.uid = t.ranges, t.op == UID
			break
		}
	}
	return p
}

// known converts the test to one of the view; ok is false if the view does not know enough.
func (t *test) known() (k mailbox.Test, ok bool) {
	k = mailbox.Test{Flags: t.flags, Ranges: t.ranges}
	switch t.op {
	case And:
		k.Op = mailbox.AllOf
	case Or:
		k.Op = mailbox.AnyOf
	case Not:
		k.Op = mailbox.Not
	case AnyFlag:
		k.Op = mailbox.AnyFlag
	case NoFlag:
		k.Op = mailbox.NoFlag
	case Recent:
		k.Op = mailbox.IsRecent
	case UID:
		k.Op = mailbox.InUIDs
	case Seq:
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

// planner converts keys to tests of the messages of a view.
type planner struct {
	view   *mailbox.View
	saved  []mailbox.Range
	probes []Probe
}

// test prepares a key and its operands.
func (b *planner) test(k *Key) test {
	t := test{op: k.Op, flags: k.Flags, n: k.N, probe: k.Probe, own: k.Extension}
	switch k.Op {
	case And, Or, Not:
		t.tests = make([]test, len(k.Keys))
		for i := range k.Keys {
			t.tests[i] = b.test(&k.Keys[i])
			t.cost = max(t.cost, t.tests[i].cost)
		}
		slices.SortStableFunc(t.tests, func(x, y test) int { return cmp.Compare(x.cost, y.cost) })
	case Keyword:
		t.op, t.flags = AnyFlag, b.keyword(k.Word)
	case Seq:
		t.ranges = b.ranges(k.Set, b.view.Exists())
		if k.Set.Saved {
			t.op = UID
		}
	case UID:
		t.ranges = b.ranges(k.Set, b.view.LastUID())
	case Text:
		t.cost = CostBody
		if b.probes[k.Probe].In == InField {
			t.cost = CostHeader
		}
	case SentBefore, SentOn, SentSince:
		t.cost = CostHeader
	case Larger, Smaller, Before, On, Since:
		t.cost = CostStat
	case Extension:
		t.cost = k.Extension.Cost
	}
	return t
}

// keyword returns the flags that represent a keyword.
func (b *planner) keyword(word string) (f filename.Flags) {
	if i, ok := b.view.KeywordIndex(word); ok {
		f = filename.Keyword(i)
	}
	if syntax.EqualFold([]byte(word), "$Forwarded") {
		f |= filename.Passed
	}
	return f
}

// ranges sorts the ranges of a set and joins those that overlap.
func (b *planner) ranges(set syntax.NumSet, last uint32) []mailbox.Range {
	if set.Saved {
		return b.saved
	}
	ranges := set.Resolve(last)
	slices.SortFunc(ranges, func(x, y mailbox.Range) int { return cmp.Compare(x.First, y.First) })
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

// inRanges reports whether a number is in sorted ranges.
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

// answer is the state of a test. It is ordered such that AND is the minimum of answers
// and OR the maximum.
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
