// Package watch tells mailboxes which names changed in the directories that they have open.
// It uses one inotify instance for the whole process: a user may have only 128 of them by
// default, so one per mailbox would not be enough.
//
// A directory is watched through its open handle, as /proc/self/fd/N, and not by its path:
// the path may lead to another directory by the time the watch is set, and does not follow
// the folder when it is renamed.
//
// inotify(7) is read directly. fsnotify also asks for changes of content and attributes: for
// these, newer kernels go through all names of a directory whenever a watch on it begins (58 ms
// with 100,000 files; 8 µs for name changes only), and it is woken for each event of a bulk
// change. In the tests it is the second witness.
package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/contain"
	"maildird/maildir/dirfd"
)

// ErrUnavailable means that the kernel provides no watch (a limit, no inotify): the caller has
// to poll.
var ErrUnavailable = errors.New("no file-system events available")

// errShared is why a watch on a network file system does not suffice.
var errShared = errors.New("what other hosts change in the directory causes no events")

// Op is what happened to a name.
type Op uint8

// The kinds of events.
const (
	Appeared  Op = iota + 1 // created, linked or renamed to
	Removed                 // unlinked
	MovedAway               // renamed to another name, in this directory or elsewhere
	// Lost means that events were lost or no more will come: look at the whole directory.
	// Name is empty.
	Lost
)

// Event is one change in a watched directory.
type Event struct {
	Name string // of the entry, without directory
	Op   Op
}

// Watcher creates watches. It is safe for concurrent use.
type Watcher struct {
	log     *slog.Logger
	in      *inotify // nil if the system provides none
	barrier *barrier
	hold    holding
	passing atomic.Bool // events may have been read that were not passed on yet
	done    chan struct{}

	mu      sync.Mutex
	watches map[watchOf]*Watch
	watched map[dirfd.ID]bool // the directories that have a watch
	warned  time.Time         // when the log last said that events do not suffice
}

// Watch is one watched directory.
type Watch struct {
	w   *Watcher
	dir *dirfd.Dir
	id  dirfd.ID
	f   func(Event)
	// partial is set if the directory may be changed by other hosts.
	partial bool

	mu     sync.Mutex // held during calls of the kernel for this watch
	wd     watchOf
	closed bool
}

// New starts a watcher. It also works without file-system events: every Add then returns
// ErrUnavailable. It needs a directory in which it can create a nameless file: the one for
// temporary files, or else one of dirs.
func New(log *slog.Logger, dirs ...string) *Watcher {
	w := &Watcher{log: log, watches: map[watchOf]*Watch{}, watched: map[dirfd.ID]bool{}, done: make(chan struct{})}
	in, err := newInotify()
	if err != nil {
		w.incomplete("", fmt.Errorf("%w: %w", ErrUnavailable, err))
		close(w.done)
		return w
	}
	w.in = in
	w.barrier = newBarrier(in, &w.hold, log, append([]string{os.TempDir()}, dirs...))
	go w.run()
	return w
}

// Close stops the watcher and waits for its goroutine. No callback runs after that.
func (w *Watcher) Close() error {
	if w.in == nil {
		return nil
	}
	err := w.in.stop()
	<-w.done
	w.in.close()
	w.barrier.close()
	if errors.Is(err, os.ErrClosed) {
		return nil // it was closed before
	}
	return err
}

// Add watches dir, which must stay open until the watch is closed. f is called from the
// watcher's goroutine and must neither block nor call Close. Since the kernel allows only
// one watch per directory, Add returns ErrUnavailable for a second one, as for a Maildir
// that is reached by two paths.
func (w *Watcher) Add(dir *dirfd.Dir, f func(Event)) (*Watch, error) {
	if w.in == nil {
		return nil, ErrUnavailable
	}
	id, err := dir.ID()
	if err != nil {
		return nil, err
	}
	wa := &Watch{w: w, dir: dir, id: id, f: f, partial: dir.Shared()}
	w.mu.Lock()
	taken := w.watched[wa.id]
	w.watched[wa.id] = true
	w.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("%w: %s is watched already", ErrUnavailable, dir.Path())
	}
	if err := wa.begin(); err != nil {
		w.mu.Lock()
		delete(w.watched, wa.id)
		w.mu.Unlock()
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		w.incomplete(dir.Path(), err)
		return nil, err
	}
	if wa.partial {
		w.incomplete(dir.Path(), errShared)
	}
	return wa, nil
}

// Partial reports whether events report only what this host does in the directory, which other
// hosts may have mounted too, as on a network file system: the caller has to poll it as well.
func (wa *Watch) Partial() bool { return wa.partial }

// begin makes the kernel queue events. wa.mu is held, or nobody else has the watch yet.
func (wa *Watch) begin() error {
	wd, err := wa.w.in.add(wa.dir.Fd(), named)
	if err != nil {
		return err
	}
	wa.w.mu.Lock()
	wa.wd = wd
	wa.w.watches[wd] = wa
	wa.w.mu.Unlock()
	return nil
}

// end undoes begin, if it was done. wa.mu is held.
func (wa *Watch) end() {
	wa.w.mu.Lock()
	on := wa.w.watches[wa.wd] == wa
	if on {
		delete(wa.w.watches, wa.wd)
	}
	wa.w.mu.Unlock()
	if on {
		wa.w.in.remove(wa.wd)
	}
}

// Close ends the watch. An event that is on its way may still be delivered.
func (wa *Watch) Close() {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	wa.closed = true
	wa.end()
	wa.w.mu.Lock()
	delete(wa.w.watched, wa.id) // only now can another watch be added
	wa.w.mu.Unlock()
}

// Pause stops the kernel from queueing events, for a caller that is about to change very
// many names in the directory itself. An event that is on its way may or may not still be
// delivered.
func (wa *Watch) Pause() {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	wa.end()
}

// Resume undoes Pause, and reports Lost in place of the events that were not delivered.
// After an error no more events come; the watch still has to be closed.
func (wa *Watch) Resume() error {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	if wa.closed {
		return fmt.Errorf("%w: the watch is closed", ErrUnavailable)
	}
	err := wa.begin()
	wa.tell(Event{Op: Lost})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// tell calls the callback. A panic there must not end the program because of a name that a
// local user has chosen: the folder is scanned instead.
func (wa *Watch) tell(ev Event) {
	if !contain.Run(wa.w.log, "panic at a file-system event", func() { wa.f(ev) }) && ev.Op != Lost {
		wa.tell(Event{Op: Lost})
	}
}

// warnInterval is how often the log says that events do not suffice.
const warnInterval = time.Hour

// incomplete logs, now and then, that mailboxes are polled.
func (w *Watcher) incomplete(dir string, err error) {
	now := time.Now()
	w.mu.Lock()
	due := w.warned.IsZero() || now.Sub(w.warned) >= warnInterval
	if due {
		w.warned = now
	}
	w.mu.Unlock()
	if due {
		w.log.Warn("file-system events do not report all changes, folders are polled", "directory", dir, "error", err)
	}
}

// run passes events on until Close.
func (w *Watcher) run() {
	defer close(w.done)
	for w.in.wait() {
		w.hold.wait()
		w.passing.Store(true)
		events, err := w.in.read()
		if err != nil {
			w.lost(err)
		}
		for ev := range events {
			w.event(ev)
		}
		w.passing.Store(false)
	}
}

func (w *Watcher) event(ev kernelEvent) {
	switch {
	case ev.mask&unix.IN_Q_OVERFLOW != 0:
		w.lost(errOverflow)
		return
	case ev.mask&unix.IN_MODIFY != 0:
		w.barrier.arrived(ev.wd)
		return
	}
	w.mu.Lock()
	wa := w.watches[ev.wd]
	if ev.mask&unix.IN_IGNORED != 0 {
		delete(w.watches, ev.wd) // the directory no longer exists
	}
	w.mu.Unlock()
	if wa == nil {
		return
	}
	tell := Event{Name: string(ev.name)}
	switch {
	case ev.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		tell.Op = Appeared
	case ev.mask&unix.IN_DELETE != 0:
		tell.Op = Removed
	case ev.mask&unix.IN_MOVED_FROM != 0:
		tell.Op = MovedAway
	default: // of the directory itself
		tell = Event{Op: Lost}
	}
	wa.tell(tell)
}

// lost tells all watches to look at their directories: an overflow of the kernel's queue
// does not say whose events were dropped.
func (w *Watcher) lost(err error) {
	w.log.Warn("file-system events were lost, rescanning open folders", "error", err)
	w.barrier.dropped()
	w.mu.Lock()
	all := make([]*Watch, 0, len(w.watches))
	for _, wa := range w.watches {
		all = append(all, wa)
	}
	w.mu.Unlock()
	for _, wa := range all {
		wa.tell(Event{Op: Lost})
	}
}
