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
	name  string
}

// inbox is what the watcher told and nobody looked at yet.
type inbox struct {
	mu    sync.Mutex
	names map[entry]watch.Op // the last thing that happened to each name
	order []entry            // in the order in which they came up first
	all   bool               // events were lost: scan
	// away is which names went away, of those that were dropped for a scan: it
	// does not see that a name is another file's by now.
	away map[entry]struct{}
	// coming is how many are about to enter names in the table: see expect.
	coming atomic.Int32
}

// expect is called before files are looked for or made under names that the table
// does not have, and what it returns when it has them. Until then the table
// does not know what an event says that one of these files is gone, though it
// seems to: it knows no such name.
func (in *inbox) expect() (arrived func()) {
	in.coming.Add(1)
	return func() { in.coming.Add(-1) }
}

// drop orders a scan instead of what is to be worked off. in.mu is held.
func (in *inbox) drop() {
	for e, op := range in.names {
		in.leave(e, op)
	}
	in.all, in.names, in.order = true, nil, nil
}

// leave notes what happened to a name that is dropped. in.mu is held.
func (in *inbox) leave(e entry, op watch.Op) {
	if op != watch.Removed && op != watch.MovedAway || len(in.away) >= maxEvents {
		return
	}
	if in.away == nil {
		in.away = map[entry]struct{}{}
	}
	in.away[e] = struct{}{}
}

// event takes one event from the watcher's goroutine.
func (m *Mailbox) event(where table.Place, ev watch.Event) {
	in := &m.events
	if ev.Op != watch.Lost {
		unsure := ev.Op != watch.Appeared && in.coming.Load() > 0
		if filename.Ignored(ev.Name) || !unsure && m.agrees(entry{where, ev.Name}, ev.Op) {
			return
		}
	}
	in.mu.Lock()
	first := len(in.names) == 0 && !in.all
	switch e := (entry{where, ev.Name}); {
	case in.all:
		in.leave(e, ev.Op)
	case ev.Op == watch.Lost || len(in.names) >= maxEvents:
		in.drop()
		in.leave(e, ev.Op)
	default:
		if in.names == nil {
			in.names = map[entry]watch.Op{}
		}
		if _, ok := in.names[e]; !ok {
			in.order = append(in.order, e)
		}
		in.names[e] = ev.Op
	}
	in.mu.Unlock()
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

// take empties the inbox.
func (in *inbox) take() (names map[entry]watch.Op, order []entry, all bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	names, order, all = in.names, in.order, in.all
	in.names, in.order, in.all = nil, nil, false
	return names, order, all
}

func (in *inbox) empty() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.names) == 0 && !in.all
}

// putBack orders a scan, as what was taken was not worked off, or did not come.
func (in *inbox) putBack() {
	in.mu.Lock()
	in.drop()
	in.mu.Unlock()
}
