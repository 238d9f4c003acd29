package maildir

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox"
)

// openBox is a mailbox that is open, shared by all who have it. When the last
// one gives it back it stays ready for a while, watched, so that the next one
// need not read the folder again.
type openBox struct {
	a    *Account
	id   dirfd.ID
	name string // under which it was opened

	done chan struct{} // closed when box or err is set
	box  *mailbox.Mailbox
	err  error

	checked atomic.Uint64 // Account.changes when name was seen to lead here

	// Guarded by store.mu.
	refs    int
	since   time.Time     // idle since
	place   *list.Element // in store.idle, nil while somebody has it
	closing bool
	gone    chan struct{} // closed when the folder can be opened again
}

func (b *openBox) ready() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Mailbox is an open mailbox. Release it when done.
type Mailbox struct {
	*mailbox.Mailbox
	b    *openBox
	once sync.Once
}

// Open opens the mailbox with this name (UTF-8, with the separator and prefix
// that clients see); folder.ErrNotFound if there is none. Sessions that open
// the same folder share it.
func (a *Account) Open(ctx context.Context, name string) (*Mailbox, error) {
	for try := 1; ; try++ {
		m, err := a.openOnce(ctx, name)
		// The folder may have been removed or replaced after its name was looked up.
		if !errors.Is(err, mailbox.ErrReplaced) || try == openTries {
			return m, err
		}
	}
}

// openTries is how often a folder that is replaced each time is opened anew.
const openTries = 3

func (a *Account) openOnce(ctx context.Context, name string) (*Mailbox, error) {
	name, err := a.tree.Canonical(name)
	if err != nil {
		return nil, err
	}
	a.watching.Do(a.watchRoot)
	if b := a.named(name); b != nil {
		return &Mailbox{Mailbox: b.box, b: b}, nil
	}
	changes := a.changes.Load()
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return nil, err
	}
	id, err := dir.ID()
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	for {
		b, how := a.take(id, name)
		switch how {
		case opening:
			if b.open(ctx, dir); b.err != nil {
				b.release()
				return nil, b.err
			}
			b.remember(changes)
			return &Mailbox{Mailbox: b.box, b: b}, nil
		case closing:
			select {
			case <-b.gone:
				continue
			case <-ctx.Done():
				_ = dir.Close()
				return nil, ctx.Err()
			}
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			b.release()
			_ = dir.Close()
			return nil, ctx.Err()
		}
		if b.err != nil {
			b.release()
			if ended(b.err) && ctx.Err() == nil { // whoever opened it went away
				continue
			}
			_ = dir.Close()
			return nil, b.err
		}
		if b.fits(name) {
			_ = dir.Close()
			b.remember(changes)
			return &Mailbox{Mailbox: b.box, b: b}, nil
		}
		b.retire()
		b.release()
	}
}

// open reads the folder dir, which the box then owns. After an error, also of a panic,
// which ends one session and not the mailbox, those who wait for it get the error, and
// who comes later opens it anew.
func (b *openBox) open(ctx context.Context, dir *dirfd.Dir) {
	b.err = errPanicked
	defer func() {
		if b.err != nil {
			_ = dir.Close()
			b.a.store.mu.Lock()
			b.closing = true
			b.leave()
			b.a.store.mu.Unlock()
		}
		close(b.done)
		if b.err == errPanicked {
			b.release()
		}
	}()
	b.box, b.err = mailbox.New(ctx, b.a.env, dir, b.a.nextValidity, b.leadsHere)
	if b.err == nil {
		b.box.CountIn(b.a.quota)
		b.partFromOriginal(ctx)
	}
}

var errPanicked = errors.New("internal error: a panic in the middle of opening")

// named returns the box that a name is known to lead to, with a reference; nil
// if that has to be looked up.
func (a *Account) named(name string) *openBox {
	s := a.store
	s.mu.Lock()
	b := a.names[name]
	if b != nil && b.closing {
		b = nil
	}
	if b != nil {
		b.hold()
	}
	s.mu.Unlock()
	if b != nil && b.box.Replaced() {
		b.release()
		return nil
	}
	return b
}

// remember notes that the box's name leads to it, if nothing happened since
// changes was read that could have changed that.
func (b *openBox) remember(changes uint64) {
	a := b.a
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.flat && a.watch != nil && !b.closing && a.changes.Load() == changes {
		a.names[b.name] = b
		b.checked.Store(changes)
	}
}

// leadsHere tells whether the box's name still leads to its folder. Where
// events tell of all that could change that, it is looked up after one only.
func (b *openBox) leadsHere() bool {
	a := b.a
	changes := a.changes.Load()
	if a.flat && a.watch != nil && b.checked.Load() == changes {
		return true
	}
	leads := a.leadsTo(b.name, b.id)
	if leads {
		b.checked.Store(changes)
	}
	return leads
}

// hold adds a reference. store.mu is held.
func (b *openBox) hold() {
	b.refs++
	if b.place != nil {
		b.a.store.idle.Remove(b.place)
		b.place = nil
	}
}

// taken says what take found.
type taken uint8

const (
	sharing taken = iota // the box is open, or another one opens it; the caller has a reference
	opening              // the box is new, and for the caller to open
	closing              // the box is given up; the caller waits
)

func (a *Account) take(id dirfd.ID, name string) (b *openBox, how taken) {
	s := a.store
	s.mu.Lock()
	defer s.mu.Unlock()
	b = a.boxes[id]
	switch {
	case b == nil:
		b = &openBox{a: a, id: id, name: name, refs: 1, done: make(chan struct{}), gone: make(chan struct{})}
		a.boxes[id] = b
		return b, opening
	case b.closing:
		return b, closing
	}
	b.hold()
	return b, sharing
}

// fits tells whether who opens the folder under a name can share the box: it
// ended if its name leads elsewhere by now, or its UIDs are others.
func (b *openBox) fits(name string) bool {
	return !b.box.Replaced() && (b.name == name || b.a.leadsTo(b.name, b.id))
}

// retire ends the box for those who have it, so that the folder can be opened
// anew.
func (b *openBox) retire() {
	s := b.a.store
	s.mu.Lock()
	first := !b.closing
	b.closing = true
	s.mu.Unlock()
	if !first {
		<-b.gone
		return
	}
	b.box.Retire()
	s.mu.Lock()
	b.leave()
	s.mu.Unlock()
}

// leave lets the folder be opened again. store.mu is held.
func (b *openBox) leave() {
	if b.a.boxes[b.id] == b {
		delete(b.a.boxes, b.id)
	}
	if b.a.names[b.name] == b {
		delete(b.a.names, b.name)
	}
	close(b.gone)
}

// Release gives the mailbox back. Its views must be closed.
func (m *Mailbox) Release() { m.once.Do(m.b.release) }

func (b *openBox) release() {
	s := b.a.store
	s.mu.Lock()
	b.refs--
	if b.refs > 0 {
		s.mu.Unlock()
		return
	}
	if b.err == nil && !b.closing && !s.closed && s.most > 0 && b.box.WorthKeeping() {
		b.since = s.env.Now()
		b.place = s.idle.PushFront(b)
		s.schedule()
		s.mu.Unlock()
		s.shrink(s.most, time.Time{})
		return
	}
	retired := b.closing
	b.closing = true
	s.mu.Unlock()
	b.close(retired)
}

// close gives up a box that nobody has, and that is marked as closing. One that
// was retired has left already.
func (b *openBox) close(retired bool) {
	s := b.a.store
	if b.err == nil {
		b.box.Close()
	}
	s.mu.Lock()
	if !retired {
		b.leave()
	}
	last := b.a.unused()
	s.mu.Unlock()
	if last {
		b.a.close()
	}
}

// idleTime is how long a mailbox that nobody has open is kept ready.
const idleTime = 10 * time.Minute

// schedule makes sure that idle mailboxes are closed in time. store.mu is held.
func (s *Store) schedule() {
	if s.sweeper == nil {
		s.sweeper = time.AfterFunc(idleTime, s.sweep)
	}
}

func (s *Store) sweep() {
	s.shrink(s.most, s.env.Now().Add(-idleTime))
	s.endRest(mostResting, s.env.Now().Add(-idleTime))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweeper = nil
	if s.idle.Len()+s.resting.Len() > 0 && !s.closed {
		s.schedule()
	}
}

// shrink closes the mailboxes that were idle longest until at most most are
// left, none of them idle since before then.
func (s *Store) shrink(most int, then time.Time) {
	for {
		s.mu.Lock()
		last := s.idle.Back()
		if last == nil || s.idle.Len() <= most && !last.Value.(*openBox).since.Before(then) {
			if s.closed && s.sweeper != nil {
				s.sweeper.Stop()
			}
			s.mu.Unlock()
			return
		}
		b := s.idle.Remove(last).(*openBox)
		b.place, b.closing = nil, true
		s.mu.Unlock()
		b.close(false)
	}
}
