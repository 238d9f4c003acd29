package delivery

import (
	"sync"

	"maildird/maildir/dirfd"
)

// groupSync lets one fsync of a directory make the names of several deliveries
// durable. An fsync promises nothing of a name that appeared after it began: so
// who comes while one runs waits for the next one, which serves all who came
// before it begins. One at a time is enough: two at once write the same blocks of
// the directory twice. For any number of goroutines.
type groupSync struct {
	fsync func(*dirfd.Dir) error // nil: (*dirfd.Dir).Sync

	mu   sync.Mutex
	dirs map[dirfd.ID]*syncing // those of which one runs
}

// syncing is a directory of which an fsync runs: the next one, or nil.
type syncing struct{ next *syncRound }

// syncRound is an fsync for all who wait for it.
type syncRound struct {
	begin, done chan struct{}
	// before is the error of the fsync that ended last. The kernel tells of an
	// error once: it may have been about a name that was to be synced next.
	before error
	err    error
}

// sync makes what was put into d before the call durable on return.
func (g *groupSync) sync(d *dirfd.Dir) error {
	id, err := d.ID()
	if err != nil {
		return err
	}
	s, r, leads := g.enter(id)
	if r != nil && !leads {
		<-r.done
		return r.err
	}
	if r != nil {
		<-r.begin
		err = r.before
	}
	if err == nil {
		err = g.run(d)
		g.leave(id, s, err)
	} else {
		g.leave(id, s, nil) // those who come now know nothing of that error
	}
	if r != nil {
		r.err = err
		close(r.done)
	}
	return err
}

// enter tells which fsync a caller takes part in: one of his own if r is nil,
// and who has to do it.
func (g *groupSync) enter(id dirfd.ID) (s *syncing, r *syncRound, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s = g.dirs[id]; s == nil {
		if g.dirs == nil {
			g.dirs = map[dirfd.ID]*syncing{}
		}
		s = new(syncing)
		g.dirs[id] = s
		return s, nil, true
	}
	if s.next == nil {
		leads = true
		s.next = &syncRound{begin: make(chan struct{}), done: make(chan struct{})}
	}
	return s, s.next, leads
}

// leave lets those who wait begin, if there are any; nobody joins them any more.
func (g *groupSync) leave(id dirfd.ID, s *syncing, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := s.next; r != nil {
		s.next, r.before = nil, err
		close(r.begin)
		return
	}
	delete(g.dirs, id)
}

func (g *groupSync) run(d *dirfd.Dir) error {
	if g.fsync != nil {
		return g.fsync(d)
	}
	return d.Sync()
}
