// Package watch tells mailboxes which names changed in the directories they
// have open. It is one inotify instance for the whole process: a user may have 128
// of them by default, so one for each mailbox would not last.
//
// A directory is watched through its open handle, as /proc/self/fd/N, and not
// by its path: a path may lead to another directory by the time the watch is
// set, and stays behind when the folder is renamed.
package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// ErrUnavailable says that the kernel gives no watch (a limit, no inotify, a
// network file system): the caller has to poll.
var ErrUnavailable = errors.New("no file-system events available")

// Op says what happened to a name.
type Op uint8

// The kinds of events.
const (
	Appeared  Op = iota + 1 // created, linked or renamed to
	Removed                 // unlinked
	MovedAway               // renamed to another name, here or elsewhere
	// Lost says that events were lost or can come no more: look at the
	// whole directory. Name is empty.
	Lost
)

// Event is one change in a watched directory.
type Event struct {
	Name string // of the entry, without directory
	Op   Op
}

// Watcher hands out watches. Safe for concurrent use.
type Watcher struct {
	log     *slog.Logger
	in      *inotify // nil when the system has none for us
	barrier *barrier
	hold    holding
	passing atomic.Bool // events may have been read that were not passed on yet
	done    chan struct{}

	mu      sync.Mutex
	watches map[watchOf]*Watch
	watched map[dirfd.ID]bool // the directories of watches
	warned  time.Time         // when the log was told that there are no events
}

// Watch is one watched directory.
type Watch struct {
	w   *Watcher
	dir *dirfd.Dir
	id  dirfd.ID
	f   func(Event)

	mu     sync.Mutex // held while the kernel is told of this watch
	wd     watchOf
	closed bool
}

// New starts a watcher. Without file-system events it works all the same:
// every Add then gives ErrUnavailable. It needs a directory where it can make a
// file, without a name: that of temporary files, or else one of dirs.
func New(log *slog.Logger, dirs ...string) *Watcher {
	w := &Watcher{log: log, watches: map[watchOf]*Watch{}, watched: map[dirfd.ID]bool{}, done: make(chan struct{})}
	in, err := newInotify()
	if err != nil {
		w.unavailable("", err)
		close(w.done)
		return w
	}
	w.in = in
	w.barrier = newBarrier(in, &w.hold, log, append([]string{os.TempDir()}, dirs...))
	go w.run()
	return w
}

// Close ends the watcher and waits for its goroutine. No callback runs after it.
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

// Add watches dir, which must stay open until the watch is closed. f is called
// from the watcher's goroutine and must neither block nor call Close. A
// directory can have one watch only, as the kernel has it: another one, as of a
// Maildir that is reached by two paths, is ErrUnavailable.
func (w *Watcher) Add(dir *dirfd.Dir, f func(Event)) (*Watch, error) {
	if w.in == nil {
		return nil, ErrUnavailable
	}
	id, err := dir.ID()
	if err != nil {
		return nil, err
	}
	wa := &Watch{w: w, dir: dir, id: id, f: f}
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
		w.unavailable(dir.Path(), err)
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return wa, nil
}

// begin has the kernel queue events. wa.mu is held, or nobody else has the watch yet.
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

// end undoes begin, if that was done. wa.mu is held.
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
	delete(wa.w.watched, wa.id) // only now can another watch be had
	wa.w.mu.Unlock()
}

// Pause has the kernel queue no more events, for one who is about to change very
// many names in the directory himself: each would be told. An event that is on its
// way may still be delivered, or may not.
func (wa *Watch) Pause() {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	wa.end()
}

// Resume undoes Pause, and tells Lost for what was not told. After an error no
// more events come; Close the watch all the same.
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

// tell calls who watches. A panic there does not end the program, for one name
// that a local user has chosen: the folder is looked at anew.
func (wa *Watch) tell(ev Event) {
	defer func() {
		if p := recover(); p != nil {
			wa.w.log.Error("panic at a file-system event", "panic", p, "stack", string(debug.Stack()))
			if ev.Op != Lost {
				wa.tell(Event{Op: Lost})
			}
		}
	}()
	wa.f(ev)
}

// warnInterval is how often the log is told that there are no events.
const warnInterval = time.Hour

// unavailable says, now and then, that mailboxes will be polled.
func (w *Watcher) unavailable(dir string, err error) {
	now := time.Now()
	w.mu.Lock()
	due := w.warned.IsZero() || now.Sub(w.warned) >= warnInterval
	if due {
		w.warned = now
	}
	w.mu.Unlock()
	if due {
		w.log.Warn("no file-system events, folders are polled instead", "directory", dir, "error", fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
}

// run passes the events on until Close.
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
		delete(w.watches, ev.wd) // the directory is no more
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

// lost tells everyone to look for themselves: an overflow of the kernel's
// queue does not say whose events were dropped.
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
