package mailbox

import (
	"slices"
	"sync"

	"maildird/maildir/cache"
)

// A sort order is remembered together with the criteria by which messages were sorted, so
// that the next client that asks for it does not have to wait until they are all read
// again. It depends on the cache: it only has messages whose sort keys are cached, and is
// discarded when the cache drops any data of a text, since whatever was derived from that
// data may be wrong. It exists as long as the mailbox is open, and takes four bytes per
// message.

// maxRankings is how many sort orders of one mailbox are remembered.
const maxRankings = 2

// ranking is an order of messages. It is immutable.
type ranking struct {
	by        string
	forgotten uint64 // texts.forgotten when it was made
	// ranks are the positions of the messages, by row: 1 to n, and 0 for a message that the
	// order does not have. A message that is gone keeps its position.
	ranks []uint32
	n     uint32
}

func (r *ranking) of(row uint32) uint32 {
	if r != nil && int(row) < len(r.ranks) {
		return r.ranks[row]
	}
	return 0
}

// rankings are the sort orders requested last, the most recent one first.
type rankings struct {
	mu   sync.Mutex
	last []*ranking
}

// take returns the order with these criteria, or nil if no valid one is remembered.
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

// put remembers an order. It replaces the one with the same criteria, or else the one that
// was not requested for the longest time.
func (l *rankings) put(r *ranking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = slices.DeleteFunc(l.last, func(old *ranking) bool { return old.by == r.by })
	l.last = slices.Insert(l.last[:min(len(l.last), maxRankings-1)], 0, r)
}

// Ranking gives a command that sorts messages access to the remembered order. It must be
// used by one goroutine at a time.
type Ranking struct {
	v         *View
	by        string
	forgotten uint64   // before any message was examined
	was       *ranking // nil: no order is remembered
}

// Ranking returns what is remembered of the order named by, which identifies a combination
// of the keys in cache.Order and the date, and is always the same for the same combination.
// The caller has the Orders open, so that what other processes found out is known.
func (v *View) Ranking(by string) *Ranking {
	r := &Ranking{v: v, by: by, forgotten: v.m.texts.forgotten()}
	r.was = v.m.texts.rankings.take(by, r.forgotten)
	return r
}

// Known returns, in order, those of the messages whose position is remembered, and the rest
// in the order in which they were given.
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
				rank = 0 // whoever reads the message finds that out
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

// Remember remembers the given order of messages, without the messages whose keys are not
// durably cached, unless an order of more messages is remembered. None of the messages may
// have been examined before Ranking was called.
func (r *Ranking) Remember(ordered []Message) {
	m := r.v.m
	m.texts.flush()
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
	if is.n > 0 && !fewer && m.texts.forgotten() == r.forgotten {
		m.texts.rankings.put(is)
	}
}

// keptOrders calls f with the rows of those messages whose cache.Order is cached and
// belongs to the current text.
func (m *Mailbox) keptOrders(msgs []Message, f func(row uint32)) {
	var texts [256]cache.Fact
	for chunk := range slices.Chunk(msgs, len(texts)) {
		row := func(i int) uint32 { return chunk[i].row }
		m.texts.main.Facts(len(chunk), row, func(i int, fact cache.Fact) { texts[i] = fact })
		m.texts.orders.Facts(len(chunk), row, func(i int, fact cache.Fact) {
			if text := &texts[i]; fact.Has&cache.Order.Set() != 0 && fact.Dated && text.Dated && fact.Mtime == text.Mtime {
				f(chunk[i].row)
			}
		})
	}
}
