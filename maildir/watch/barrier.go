package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/nameless"
)

const (
	// barrierPatience limits the wait for a mark's event: a watcher that lags behind by
	// more counts as one that lost events.
	barrierPatience = 100 * time.Millisecond
	// maxOwed limits the number of marks whose events have not arrived yet.
	maxOwed = 16
)

// barrier finds out whether all events so far have arrived. It writes to a mark, a nameless
// file that is watched like a directory: the kernel queues events in the order of the
// changes.
type barrier struct {
	in   *inotify
	hold *holding
	log  *slog.Logger
	dirs []string   // where marks may be created, in order of preference
	turn sync.Mutex // held during a round

	mu   sync.Mutex
	next *round            // callers may still join it, since its write is yet to come
	idle []*mark           // no event is due for them
	owed map[watchOf]*mark // written to, and the event has not arrived yet
	lost int               // how many of owed may be waiting for an event that was dropped
	told bool              // the log says that no mark can be created
}

// mark is one such file. It is not written to again, and not closed, before its event has
// arrived, since a late event might be mistaken for another one.
type mark struct {
	file *os.File
	wd   watchOf
	came chan struct{} // capacity 1
}

// round is one write, for which any number of callers wait.
type round struct {
	done chan struct{}
	ok   bool // set before done is closed
}

func newBarrier(in *inotify, hold *holding, log *slog.Logger, dirs []string) *barrier {
	return &barrier{in: in, hold: hold, log: log, dirs: dirs, owed: map[watchOf]*mark{}}
}

// newMark returns nil if no mark can be created; the log then says once what that costs.
// Memory (memfd) cannot be used: newer kernels report no changes of it.
func (b *barrier) newMark() *mark {
	var failed error
	for _, dir := range b.dirs {
		m, err := b.markIn(dir)
		if err == nil {
			return m
		}
		failed = errors.Join(failed, err)
	}
	if !b.told {
		b.told = true
		b.log.Warn("cannot create and watch a marker file to know when events have arrived, so each command reads the whole folder", "error", failed)
	}
	return nil
}

func (b *barrier) markIn(dir string) (*mark, error) {
	file, err := nameless.Create(dir)
	if err != nil {
		return nil, err
	}
	m := &mark{file: file, came: make(chan struct{}, 1)}
	_, err = file.WriteAt([]byte{0}, 0) // later writes need no more space
	if err == nil {
		if m.wd, err = b.in.add(int(file.Fd()), unix.IN_MODIFY); err != nil {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err) // so that ENOSPC from inotify does not look like a full disk
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("a file in %s: %w", dir, err)
	}
	return m, nil
}

// take returns a mark and records that its event is due; nil if there is none.
func (b *barrier) take() *mark {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = nil // callers that come from now on may come after the write
	var m *mark
	if n := len(b.idle); n > 0 {
		m, b.idle = b.idle[n-1], b.idle[:n-1]
	} else if len(b.owed)-b.lost < maxOwed {
		m = b.newMark()
	}
	if m == nil {
		return nil
	}
	select {
	case <-m.came: // late, from a round that timed out
	default:
	}
	b.owed[m.wd] = m
	return m
}

// arrived records the event of a mark.
func (b *barrier) arrived(wd watchOf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.owed[wd]
	if m == nil {
		return
	}
	delete(b.owed, wd)
	b.lost = min(b.lost, len(b.owed))
	b.idle = append(b.idle, m)
	m.came <- struct{}{}
}

// dropped records that events were lost, possibly including those of marks.
func (b *barrier) dropped() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = len(b.owed)
}

// close closes the marks. The watcher must be closed.
func (b *barrier) close() {
	b.turn.Lock()
	defer b.turn.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.owed {
		b.idle = append(b.idle, m)
	}
	for _, m := range b.idle {
		_ = m.file.Close()
	}
	b.idle, b.owed = nil, map[watchOf]*mark{}
}

// Barrier waits until the callbacks of all events that happened before the call have
// returned. It gives up after 0.1 s, or when ctx ends, and returns false: then events may
// still be on their way, and the caller has to look at the directory.
func (w *Watcher) Barrier(ctx context.Context) bool {
	if w.in == nil {
		return false
	}
	// Usually, all have arrived long ago. The reader of events sets passing before it takes
	// them from the queue.
	if w.in.empty() && !w.passing.Load() {
		return true
	}
	b := w.barrier
	b.mu.Lock()
	r := b.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		b.next = r
		go b.run(r, w.done)
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.ok
	case <-ctx.Done():
		return false
	}
}

// run waits for the end of the previous round and then performs r.
func (b *barrier) run(r *round, closed <-chan struct{}) {
	b.turn.Lock()
	defer b.turn.Unlock()
	defer close(r.done)
	m := b.take()
	if m == nil {
		return
	}
	if _, err := m.file.WriteAt([]byte{0}, 0); err != nil {
		return
	}
	b.hold.hurry()
	defer b.hold.unhurry()
	t := time.NewTimer(barrierPatience)
	defer t.Stop()
	select {
	case <-m.came:
		r.ok = true
	case <-t.C:
	case <-closed:
	}
}
