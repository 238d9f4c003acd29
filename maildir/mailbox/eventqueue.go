package mailbox

import (
	"sync"
	"sync/atomic"

	"maildird/maildir/watch"
)

// maxEvents limits how many changed names are remembered; if there are more, the folder is
// scanned.
const maxEvents = 1 << 16

// changes are the names that events reported.
type changes struct {
	names map[entry]watch.Op // the last thing that happened to each name
	order []entry            // in the order in which they were first reported
	all   bool               // events were lost: scan
}

// eventQueue holds what the watcher reported and nobody has looked at yet. It may be used
// concurrently.
type eventQueue struct {
	mu sync.Mutex
	changes
	// away are the names that went away, among those that were dropped in favour of a scan:
	// a scan does not notice that a name belongs to another file by now.
	away map[entry]struct{}
	// reappeared are the names that appeared although the table had them, or that were dropped.
	// Either this process created them by a rename, or mv or rsync put another file in a
	// message's place. This is not news that wakes a session; the next look finds out.
	reappeared map[entry]struct{}
	// coming counts the operations that are about to enter names in the table: see expect.
	coming atomic.Int32
}

// expect is called before files are searched for, or created, under names that the table
// does not have; the caller calls arrived once the table has them. In between, an event
// which says that such a file is gone must not be dismissed as known just because the table
// has no such name.
func (q *eventQueue) expect() (arrived func()) {
	q.coming.Add(1)
	return func() { q.coming.Add(-1) }
}

// expecting reports whether an event which says that a file is gone may be about one that is
// about to be entered in the table.
func (q *eventQueue) expecting() bool { return q.coming.Load() > 0 }

// drop replaces the queued changes by a scan. q.mu is held.
func (q *eventQueue) drop() {
	for e, op := range q.names {
		q.leave(e, op)
	}
	q.changes = changes{all: true}
}

// leave notes what happened to a name that is dropped. q.mu is held.
func (q *eventQueue) leave(e entry, op watch.Op) {
	switch op {
	case watch.Appeared: // perhaps created by this process, and then replaced by another program
		note(&q.reappeared, e)
	case watch.Removed, watch.MovedAway:
		note(&q.away, e)
	}
}

// note adds to a set of names of limited size.
func note(set *map[entry]struct{}, e entry) {
	if *set == nil {
		*set = map[entry]struct{}{}
	}
	if len(*set) < maxEvents {
		(*set)[e] = struct{}{}
	}
}

// appearedAgain notes that a name appeared that the table already has.
func (q *eventQueue) appearedAgain(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	note(&q.reappeared, e)
}

// add queues what happened to a name. first is true if nothing was queued before.
func (q *eventQueue) add(e entry, op watch.Op) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first = q.isEmpty()
	switch {
	case q.all:
		q.leave(e, op)
	case len(q.names) >= maxEvents:
		q.drop()
		q.leave(e, op)
	default:
		if q.names == nil {
			q.names = map[entry]watch.Op{}
		}
		if _, ok := q.names[e]; !ok {
			q.order = append(q.order, e)
		}
		q.names[e] = op
	}
	return first
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
	return q.isEmpty()
}

func (q *eventQueue) isEmpty() bool { return len(q.names) == 0 && !q.all }

// orderScan is called when the queue may not have everything that happened, because changes
// were taken from it and not processed, or events did not arrive. first is true if nothing
// was queued before.
func (q *eventQueue) orderScan() (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first = q.isEmpty()
	q.drop()
	return first
}

// takeAway empties away.
func (q *eventQueue) takeAway() map[entry]struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	away := q.away
	q.away = nil
	return away
}

// takeReappeared empties reappeared.
func (q *eventQueue) takeReappeared() map[entry]struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	reappeared := q.reappeared
	q.reappeared = nil
	return reappeared
}
