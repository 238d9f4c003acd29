package mailbox

import (
	"sync"
	"sync/atomic"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// maxEvents bounds how many changed names are remembered; with more the folder
// is scanned.
const maxEvents = 1 << 16

// entry is a file name in new/ or cur/.
type entry struct {
	where table.Place
	inode uint32 // as Row.Inode has it; 0: nobody asked, as in all that are compared
	name  string
}

// sameName tells whether two entries are of one name.
func (e entry) sameName(other entry) bool { return e.where == other.where && e.name == other.name }

// changes are the names of which events told.
type changes struct {
	names map[entry]watch.Op // the last thing that happened to each name
	order []entry            // in the order in which they came up first
	all   bool               // events were lost: scan
}

// eventQueue is what the watcher told and nobody looked at yet.
type eventQueue struct {
	mu sync.Mutex
	changes
	// away is which names went away, of those that were dropped for a scan: it
	// does not see that a name is another file's by now.
	away map[entry]struct{}
	// again is which names appeared that the table had, or that were dropped. This process gave them, by a
	// rename; or mv or rsync put another file in a message's place. That is not news,
	// but who looks next finds it out.
	again map[entry]struct{}
	// coming is how many are about to enter names in the table: see expect.
	coming atomic.Int32
}

// expect is called before files are looked for or made under names that the table
// does not have, and what it returns when it has them. Until then the table
// does not know what an event says that one of these files is gone, though it
// seems to: it knows no such name.
func (q *eventQueue) expect() (arrived func()) {
	q.coming.Add(1)
	return func() { q.coming.Add(-1) }
}

// drop orders a scan instead of what is to be worked off. q.mu is held.
func (q *eventQueue) drop() {
	for e, op := range q.names {
		q.leave(e, op)
	}
	q.changes = changes{all: true}
}

// leave notes what happened to a name that is dropped. q.mu is held.
func (q *eventQueue) leave(e entry, op watch.Op) {
	switch op {
	case watch.Appeared: // perhaps by us, and then again by somebody else
		note(&q.again, e)
	case watch.Removed, watch.MovedAway:
		note(&q.away, e)
	}
}

// note adds to a set of names that does not grow without bound.
func note(set *map[entry]struct{}, e entry) {
	if *set == nil {
		*set = map[entry]struct{}{}
	}
	if len(*set) < maxEvents {
		(*set)[e] = struct{}{}
	}
}

// comeAgain notes that a name appeared that the table has.
func (q *eventQueue) comeAgain(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	note(&q.again, e)
}

// event takes one event from the watcher's goroutine.
func (m *Mailbox) event(where table.Place, ev watch.Event) {
	q := &m.events
	if ev.Op != watch.Lost {
		unsure := ev.Op != watch.Appeared && q.coming.Load() > 0
		if filename.Ignored(ev.Name) {
			return
		}
		if e := (entry{where: where, name: ev.Name}); !unsure && m.agrees(e, ev.Op) {
			if ev.Op == watch.Appeared {
				q.comeAgain(e)
			}
			return
		}
	} else {
		m.checkNameAgain() // perhaps the directory was moved
	}
	q.mu.Lock()
	first := len(q.names) == 0 && !q.all
	switch e := (entry{where: where, name: ev.Name}); {
	case q.all:
		q.leave(e, ev.Op)
	case ev.Op == watch.Lost || len(q.names) >= maxEvents:
		q.drop()
		q.leave(e, ev.Op)
	default:
		if q.names == nil {
			q.names = map[entry]watch.Op{}
		}
		if _, ok := q.names[e]; !ok {
			q.order = append(q.order, e)
		}
		q.names[e] = ev.Op
	}
	q.mu.Unlock()
	if first {
		m.wake()
	}
}

// agrees tells whether the table knows already what an event says, as it does
// of our own changes.
func (m *Mailbox) agrees(e entry, op watch.Op) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	here := ok && m.t.Row(n).State == table.Present && m.t.HasName(n, e.where, e.name)
	return here == (op == watch.Appeared)
}

// take empties the queue.
func (q *eventQueue) take() changes {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.changes
	q.changes = changes{}
	return c
}

func (q *eventQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.names) == 0 && !q.all
}

// orderScan is for when what happened may not all be in the queue: what was taken
// was not worked off, or events did not come.
func (q *eventQueue) orderScan() {
	q.mu.Lock()
	q.drop()
	q.mu.Unlock()
}
