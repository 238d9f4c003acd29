package search

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// TestDayOf compares days with those of package time.
func TestDayOf(t *testing.T) {
	for range 5000 {
		at := time.Unix(rand.Int64N(1<<37)-1<<35, 0).In(time.FixedZone("", 60*(rand.IntN(2*14*60)-14*60)))
		y, m, d := at.Date()
		if want := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60); DayOf(at) != want {
			t.Fatalf("%s is day %d, want %d", at, DayOf(at), want)
		}
	}
}

// TestOfDay checks whether a time is before, on or since a day, and that the zone of the
// time determines its day.
func TestOfDay(t *testing.T) {
	late := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -60*60)) // March 2 in UTC
	day := DayOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		ops  [2]Op
		want [3]bool // the day before, the day, the day after
	}{
		{[2]Op{Before, SentBefore}, [3]bool{false, false, true}},
		{[2]Op{On, SentOn}, [3]bool{false, true, false}},
		{[2]Op{Since, SentSince}, [3]bool{true, true, false}},
	} {
		for _, op := range c.ops {
			for i, want := range c.want {
				if op.OfDay(late, day+int64(i)-1) != want {
					t.Errorf("op %d, %d days from it: %v", op, i-1, !want)
				}
			}
		}
	}
}

// TestUses checks that "*" and "$" are found anywhere in a program.
func TestUses(t *testing.T) {
	set := func(r mailbox.Range) Key { return Key{Op: UID, Set: syntax.NumSet{Ranges: []mailbox.Range{r}}} }
	for name, c := range map[string]struct {
		key         Key
		last, saved bool
	}{
		"1:5":        {key: set(mailbox.Range{First: 1, Last: 5})},
		"5:*":        {key: set(mailbox.Range{First: 5}), last: true},
		"*:5":        {key: set(mailbox.Range{Last: 5}), last: true},
		"$":          {key: Key{Op: Seq, Set: syntax.NumSet{Saved: true}}, saved: true},
		"SEEN":       {key: Key{Op: AnyFlag}},
		"NOT UID *":  {key: Key{Op: Not, Keys: []Key{set(mailbox.Range{})}}, last: true},
		"OR SEEN $":  {key: Key{Op: Or, Keys: []Key{{Op: AnyFlag}, {Op: Seq, Set: syntax.NumSet{Saved: true}}}}, saved: true},
		"(ALL 1:2 )": {key: Key{Op: And, Keys: []Key{{Op: And}, set(mailbox.Range{First: 1, Last: 2})}}},
	} {
		if c.key.UsesLast() != c.last || c.key.UsesSaved() != c.saved {
			t.Errorf("%s: uses * %v, $ %v", name, c.key.UsesLast(), c.key.UsesSaved())
		}
	}
}

// TestRanges: the sets in a program become sorted ranges that do not overlap,
// as inRanges requires.
func TestRanges(t *testing.T) {
	b := planner{}
	got := b.ranges(syntax.NumSet{Ranges: []mailbox.Range{{First: 9, Last: 7}, {First: 3, Last: 3}, {First: 2, Last: 5}, {First: 12}}}, 20)
	if want := "[{2 5} {7 9} {12 20}]"; fmt.Sprint(got) != want {
		t.Fatalf("%v, want %s", got, want)
	}
	in := map[uint32]bool{2: true, 3: true, 4: true, 5: true, 7: true, 8: true, 9: true}
	for n := uint32(12); n <= 20; n++ {
		in[n] = true
	}
	for n := uint32(1); n < 30; n++ {
		if inRanges(got, n) != in[n] {
			t.Errorf("%d: %v", n, !in[n])
		}
	}
}
