package mailbox

import (
	"slices"
	"sync"

	"maildird/maildir/cache"
)

// An order in which messages were put is remembered by what they were put in order
// by, so that the next one who asks for it need not look at them again. It stands
// on the cache: it has no message but those whose keys are kept there, and ends
// when the cache forgets anything of a text, as whatever was made of it may be
// wrong then. It goes with the open mailbox, and takes four bytes a message.

// maxRankings is how many orders are remembered of one mailbox.
const maxRankings = 2

// ranking is an order of messages. Once made it does not change.
type ranking struct {
	by        string
	forgotten uint64 // Mailbox.forgotten when it was made
	// ranks are the places of the messages, by row: 1 to n, and 0 for a message that
	// the order does not have. A message that is gone keeps its place.
	ranks []uint32
	n     uint32
}

func (r *ranking) of(row uint32) uint32 {
	if r != nil && int(row) < len(r.ranks) {
		return r.ranks[row]
	}
	return 0
}

// rankings are the orders that a mailbox was asked for last, the last one first.
type rankings struct {
	mu   sync.Mutex
	last []*ranking
}

// take returns the order by that, nil if none is remembered that counts.
func (l *rankings) take(by string, forgotten uint64) *ranking {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = slices.DeleteFunc(l.last, func(r *ranking) bool { return r.forgotten != forgotten })
	i := slices.IndexFunc(l.last, func(r *ranking) bool { return r.by == by })
	if i < 0 {
		return nil
	}
	r := l.last[i]
	l.last = slices.Insert(slices.Delete(l.last, i, i+1), 0, r)
	return r
}

// put remembers an order instead of one by the same, or of the one that was asked
// for the longest time ago.
func (l *rankings) put(r *ranking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = slices.DeleteFunc(l.last, func(old *ranking) bool { return old.by == r.by })
	l.last = slices.Insert(l.last[:min(len(l.last), maxRankings-1)], 0, r)
}

// forgotten tells how often anything that the cache knew of a text was forgotten.
func (m *Mailbox) forgotten() uint64 { return m.cached.Forgotten() + m.orders.Forgotten() }

// Ranking is what one command that puts messages in an order has of the remembered
// one. For one goroutine.
type Ranking struct {
	v         *View
	by        string
	forgotten uint64   // before any message was looked at
	was       *ranking // nil: nothing is remembered
}

// Ranking returns what is remembered of the order that by names: what is in
// cache.Order, the date, or both, in some way that is always the same. The caller
// has the Orders open, so that what other processes found out is known.
func (v *View) Ranking(by string) *Ranking {
	r := &Ranking{v: v, by: by, forgotten: v.m.forgotten()}
	r.was = v.m.rankings.take(by, r.forgotten)
	return r
}

// Known returns those of the messages whose place is remembered, in that order, and
// the rest in the order in which they came.
func (r *Ranking) Known(msgs []Message) (known, rest []Message) {
	if r.was == nil {
		return nil, msgs
	}
	v := r.v
	v.m.mu.RLock()
	gone := slices.Clone(v.gone)
	v.m.mu.RUnlock()
	at := make([]uint32, r.was.n+1) // indices into msgs plus one, by rank
	for i := range msgs {
		rank := r.was.of(msgs[i].row)
		if rank > 0 && len(gone) > 0 {
			if _, lost := slices.BinarySearch(gone, msgs[i].row); lost {
				rank = 0 // who looks finds that out
			}
		}
		if rank == 0 {
			rest = append(rest, msgs[i])
			continue
		}
		at[rank] = uint32(i) + 1
	}
	known = make([]Message, 0, len(msgs)-len(rest))
	for _, i := range at {
		if i > 0 {
			known = append(known, msgs[i-1])
		}
	}
	return known, rest
}

// Remember remembers that this is the order of the messages, without those that the
// cache does not have for good, and unless an order of more messages is remembered.
// None of them was looked at before Ranking was called.
func (r *Ranking) Remember(ordered []Message) {
	m := r.v.m
	m.cached.Flush()
	m.orders.Flush()
	is := &ranking{by: r.by, forgotten: r.forgotten}
	m.mu.RLock()
	is.ranks = make([]uint32, m.t.Len())
	present := m.t.Count()
	m.mu.RUnlock()
	m.keptOrders(ordered, func(row uint32) {
		is.n++
		is.ranks[row] = is.n
	})
	fewer := r.was != nil && is.n < min(r.was.n, present)
	if is.n > 0 && !fewer && m.forgotten() == r.forgotten {
		m.rankings.put(is)
	}
}

// keptOrders calls f with the rows of those messages whose cache.Order is kept and
// is that of the text that is known.
func (m *Mailbox) keptOrders(msgs []Message, f func(row uint32)) {
	var texts [256]cache.Fact
	for chunk := range slices.Chunk(msgs, len(texts)) {
		row := func(i int) uint32 { return chunk[i].row }
		m.cached.Facts(len(chunk), row, func(i int, fact cache.Fact) { texts[i] = fact })
		m.orders.Facts(len(chunk), row, func(i int, fact cache.Fact) {
			if text := &texts[i]; fact.Has&cache.Order.Set() != 0 && fact.Dated && text.Dated && fact.Mtime == text.Mtime {
				f(chunk[i].row)
			}
		})
	}
}
