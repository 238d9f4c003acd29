package mailbox

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// TestEventQueue: what happened to a name last is what counts, and what a scan would not
// notice is kept when names are dropped in favour of one.
func TestEventQueue(t *testing.T) {
	e := func(name string) entry { return entry{where: table.InCur, name: name} }
	for name, c := range map[string]struct {
		fill             func(q *eventQueue)
		order            []string // "name op"
		all              bool
		away, reappeared []string
	}{
		"nothing": {fill: func(*eventQueue) {}},
		"the last event of a name, in the order of the first": {
			fill: func(q *eventQueue) {
				q.add(e("a"), watch.Appeared)
				q.add(e("b"), watch.Appeared)
				q.add(e("a"), watch.Removed)
			},
			order: []string{fmt.Sprint("a ", watch.Removed), fmt.Sprint("b ", watch.Appeared)},
		},
		"dropped before and after": {
			fill: func(q *eventQueue) {
				q.add(e("a"), watch.Appeared)
				q.add(e("b"), watch.Removed)
				q.orderScan()
				q.add(e("c"), watch.MovedAway)
				q.add(e("d"), watch.Appeared)
			},
			all: true, away: []string{"b", "c"}, reappeared: []string{"a", "d"},
		},
		"known names": {
			fill:       func(q *eventQueue) { q.appearedAgain(e("a")) },
			reappeared: []string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var q eventQueue
			c.fill(&q)
			if empty := len(c.order) == 0 && !c.all; q.empty() != empty {
				t.Errorf("empty: %v", !empty)
			}
			got := q.take()
			var order []string
			for _, e := range got.order {
				order = append(order, fmt.Sprint(e.name, " ", got.names[e]))
			}
			if !slices.Equal(order, c.order) || got.all != c.all || len(got.names) != len(order) {
				t.Errorf("took %q, all %v, of %d names", order, got.all, len(got.names))
			}
			for what, pair := range map[string]struct {
				got  map[entry]struct{}
				want []string
			}{"away": {q.takeAway(), c.away}, "reappeared": {q.takeReappeared(), c.reappeared}} {
				var names []string
				for e := range maps.Keys(pair.got) {
					names = append(names, e.name)
				}
				if slices.Sort(names); !slices.Equal(names, pair.want) {
					t.Errorf("%s: %q, want %q", what, names, pair.want)
				}
			}
			if !q.empty() || len(q.takeAway())+len(q.takeReappeared()) > 0 {
				t.Error("something is left")
			}
		})
	}
}

// TestEventQueueFirst: only the first of the changes that wait wakes the sessions.
func TestEventQueueFirst(t *testing.T) {
	var q eventQueue
	e := entry{where: table.InNew, name: "a"}
	for round := range 2 {
		if !q.add(e, watch.Appeared) || q.add(e, watch.Removed) || q.orderScan() {
			t.Errorf("round %d", round)
		}
		q.take()
		if !q.orderScan() || q.orderScan() || q.add(e, watch.Appeared) {
			t.Errorf("round %d, scan first", round)
		}
		q.take()
	}
}

// TestEventQueueIsBounded: very many names become a scan, and what is kept of them is
// limited too.
func TestEventQueueIsBounded(t *testing.T) {
	var q eventQueue
	for i := range 2*maxEvents + 10 {
		q.add(entry{where: table.InCur, name: fmt.Sprint(i)}, watch.Removed)
	}
	if c := q.take(); !c.all || len(c.names)+len(c.order) > 0 {
		t.Errorf("all %v, %d names", c.all, len(c.names))
	}
	if n := len(q.takeAway()); n != maxEvents {
		t.Errorf("%d names are kept", n)
	}
}

// TestExpecting: two operations may expect files at the same time.
func TestExpecting(t *testing.T) {
	var q eventQueue
	one, two := q.expect(), q.expect()
	one()
	if !q.expecting() {
		t.Error("the second is not expected any more")
	}
	if two(); q.expecting() {
		t.Error("nothing is expected any more")
	}
}
