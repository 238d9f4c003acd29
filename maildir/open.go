package maildir

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/contain"
	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox"
)

// openBox is an open mailbox, shared by all who have it. When the last one releases it, it
// stays ready and watched for a while, so that the next one need not read the folder again.
type openBox struct {
	a    *Account
	id   dirfd.ID
	name string // under which it was opened

	done chan struct{} // closed once box or err is set
	box  *mailbox.Mailbox
	err  error

	checked atomic.Uint64 // Account.changes when name was last found to lead here

	// Guarded by store.mu.
	refs    int
	since   time.Time     // idle since
	place   *list.Element // in store.idle, nil while somebody has the box
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

// Open opens the mailbox with this name (UTF-8, with the separator and prefix that clients
// see), or returns folder.ErrNotFound. Sessions that open the same folder share it.
func (a *Account) Open(ctx context.Context, name string) (*Mailbox, error) {
	for try := 1; ; try++ {
		m, err := a.openOnce(ctx, name)
		// The folder may have been removed or replaced after its name was looked up.
		if !errors.Is(err, mailbox.ErrReplaced) || try == openTries {
			return m, err
		}
	}
}

// openTries limits how often Open tries again if the folder is replaced each time.
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
			if ended(b.err) && ctx.Err() == nil { // the caller that was opening it gave up
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

// open reads the folder dir, of which the box takes ownership. After an error, including a
// panic, which ends one session but not the mailbox, those who wait for the box get the
// error, and later callers open the folder again.
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

// named returns the box that a name is known to lead to, with a reference; nil if the name
// has to be looked up.
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

// remember records that the box's name leads to it, unless something that may have changed
// that has happened since changes was read.
func (b *openBox) remember(changes uint64) {
	a := b.a
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.flat && a.watch != nil && !b.closing && a.changes.Load() == changes {
		a.names[b.name] = b
		b.checked.Store(changes)
	}
}

// leadsHere reports whether the box's name still leads to its folder. If events report
// everything that could change that, the name is looked up only after one.
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

// taken is the result of take.
type taken uint8

const (
	sharing taken = iota // the box is open, or another caller is opening it; the caller has a reference
	opening              // the box is new, and the caller has to open it
	closing              // the box is being closed; the caller has to wait
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

// fits reports whether a caller that opens the folder under a name can share the box. It
// cannot if the box has ended because its name leads elsewhere by now, or its UIDs are
// different.
func (b *openBox) fits(name string) bool {
	return !b.box.Replaced() && (b.name == name || b.a.leadsTo(b.name, b.id))
}

// retire ends the box for those who have it, so that the folder can be opened again.
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
	defer func() { // also after a panic
		s.mu.Lock()
		defer s.mu.Unlock()
		b.leave()
	}()
	b.box.Retire()
}

// leave allows the folder to be opened again. store.mu is held.
func (b *openBox) leave() {
	if b.a.boxes[b.id] == b {
		delete(b.a.boxes, b.id)
	}
	if b.a.names[b.name] == b {
		delete(b.a.names, b.name)
	}
	close(b.gone)
}

// Release releases the mailbox. Its views must be closed.
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

// close closes a box that nobody has, and that is marked as closing. A box that was retired
// has already left.
func (b *openBox) close(retired bool) {
	defer func() { // also after a panic: somebody may be waiting to open the folder
		s := b.a.store
		s.mu.Lock()
		if !retired {
			b.leave()
		}
		last := b.a.unused()
		s.mu.Unlock()
		if last {
			b.a.close()
		}
	}()
	if b.err == nil {
		b.box.Close()
	}
}

// alone runs f, for which no session waits.
func (s *Store) alone(f func()) {
	contain.Run(s.env.Log, "panic while a mailbox or an account was closed", f)
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

// shrink closes the mailboxes that were idle for the longest time, until at most most are
// left, none of them idle since before then. It does not wait for their disks, which may not
// respond.
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
		s.closing.Go(func() { s.alone(func() { b.close(false) }) }) // before Store.Close, which needs the lock, waits for it
		s.mu.Unlock()
	}
}
