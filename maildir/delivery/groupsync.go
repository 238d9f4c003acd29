package delivery

import (
	"sync"

	"maildird/maildir/dirfd"
)

// groupSync lets one fsync of a directory make the names of several deliveries durable. An
// fsync guarantees nothing for a name that appeared after it started, so a caller that
// comes while one is running waits for the next one, which serves all callers that came
// before it started. One at a time is enough: two at once write the same blocks of the
// directory twice. A groupSync is safe for concurrent use.
type groupSync struct {
	fsync func(*dirfd.Dir) error // nil: (*dirfd.Dir).Sync
	disk  places

	mu   sync.Mutex
	dirs map[dirfd.ID]*syncing // the directories with an fsync in progress
}

// syncing is a directory with an fsync in progress. next is the one after it, or nil.
type syncing struct{ next *syncRound }

// syncRound is an fsync for all callers that wait for it.
type syncRound struct {
	begin, done chan struct{}
	// before is the error of the preceding fsync. The kernel reports an error only once,
	// and it may have concerned a name that this fsync is for.
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
		g.leave(id, s, nil) // callers that come now are not affected by that error
	}
	if r != nil {
		r.err = err
		close(r.done)
	}
	return err
}

// enter determines which fsync a caller takes part in: one of its own if r is nil, and
// otherwise r, which the caller has to run if leads is set.
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

// leave starts the next round, if anybody is waiting; nobody can join it any more.
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
	return g.disk.with(d, func() error {
		if g.fsync != nil {
			return g.fsync(d)
		}
		return d.Sync()
	})
}
