// Package watch tells mailboxes which names changed in the directories they
// have open. It is one fsnotify instance (one inotify instance on Linux) for
// the whole process: a user may have 128 of them by default, so one for each
// mailbox would not last.
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
	"strconv"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"

	"maildird/maildir/dirfd"
)

// ErrUnavailable says that the kernel gives no watch (a limit, no inotify, a
// network file system): the caller has to poll.
var ErrUnavailable = errors.New("no file-system events to be had")

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
	fs      *fsnotify.Watcher // nil when the system has none for us
	barrier *barrier
	hold    holding
	done    chan struct{}

	mu      sync.Mutex
	watches map[string]*Watch // by path as fsnotify knows it
	watched map[dirfd.ID]bool // the directories of watches
	warned  bool

	renewing sync.WaitGroup
}

// Watch is one watched directory.
type Watch struct {
	w    *Watcher
	path string
	id   dirfd.ID
	f    func(Event)

	mu     sync.Mutex // held while fsnotify is told of this watch
	closed bool
}

// New starts a watcher. Without file-system events it works all the same:
// every Add then gives ErrUnavailable. It needs a directory where it can make a
// file, without a name: that of temporary files, or else one of dirs.
func New(log *slog.Logger, dirs ...string) *Watcher {
	w := &Watcher{log: log, watches: map[string]*Watch{}, watched: map[dirfd.ID]bool{}, done: make(chan struct{})}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		w.unavailable("", err)
		close(w.done)
		return w
	}
	w.fs = fs
	w.barrier = newBarrier(fs, &w.hold, log, append([]string{os.TempDir()}, dirs...))
	go w.run()
	return w
}

// Close ends the watcher and waits for its goroutine. No callback runs after it.
func (w *Watcher) Close() error {
	if w.fs == nil {
		return nil
	}
	err := w.fs.Close()
	<-w.done
	w.renewing.Wait()
	w.barrier.close()
	return err
}

// Add watches dir, which must stay open until the watch is closed. f is called
// from the watcher's goroutines and must neither block nor call Close. A
// directory can have one watch only, as the kernel has it: another one, as of a
// Maildir that is reached by two paths, is ErrUnavailable.
func (w *Watcher) Add(dir *dirfd.Dir, f func(Event)) (*Watch, error) {
	if w.fs == nil {
		return nil, ErrUnavailable
	}
	id, err := dir.ID()
	if err != nil {
		return nil, err
	}
	wa := &Watch{w: w, path: "/proc/self/fd/" + strconv.Itoa(dir.Fd()), id: id, f: f}
	w.mu.Lock()
	taken := w.watched[wa.id]
	if !taken {
		w.watches[wa.path], w.watched[wa.id] = wa, true
	}
	w.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("%w: %s is watched already", ErrUnavailable, dir.Path())
	}
	if err := w.fs.Add(wa.path); err != nil {
		w.mu.Lock()
		delete(w.watches, wa.path)
		delete(w.watched, wa.id)
		w.mu.Unlock()
		w.unavailable(dir.Path(), err)
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return wa, nil
}

// Close ends the watch. An event that is on its way may still be delivered.
func (wa *Watch) Close() {
	wa.w.mu.Lock()
	delete(wa.w.watches, wa.path)
	wa.w.mu.Unlock()
	wa.mu.Lock()
	defer wa.mu.Unlock()
	wa.closed = true
	// An error says that the kernel dropped the watch already, as it does
	// when the directory is removed.
	_ = wa.w.fs.Remove(wa.path)
	wa.w.mu.Lock()
	delete(wa.w.watched, wa.id) // only now can another watch be had
	wa.w.mu.Unlock()
}

// Pause has the kernel queue no more events, for one who is about to change very
// many names in the directory himself: each would be told. An event that is on its
// way may still be delivered, or may not. It must not be called by a callback.
func (wa *Watch) Pause() {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	// An error says that the kernel dropped the watch already.
	_ = wa.w.fs.Remove(wa.path)
}

// Resume undoes Pause, and tells Lost for what was not told. After an error no
// more events come; Close the watch all the same.
func (wa *Watch) Resume() error {
	wa.mu.Lock()
	defer wa.mu.Unlock()
	if wa.closed {
		return fmt.Errorf("%w: the watch is closed", ErrUnavailable)
	}
	err := wa.w.fs.Add(wa.path)
	wa.tell(Event{Op: Lost})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// renew watches a directory again that was renamed, which ends a watch of
// fsnotify's. It does not run on the watcher's goroutine, for which fsnotify may
// wait with its lock held.
func (wa *Watch) renew() {
	defer wa.w.renewing.Done()
	wa.mu.Lock()
	defer wa.mu.Unlock()
	if wa.closed {
		return
	}
	if err := wa.w.fs.Add(wa.path); err != nil && !errors.Is(err, fsnotify.ErrClosed) {
		wa.w.log.Warn("a directory that was renamed cannot be watched any more", "error", err)
	}
	wa.tell(Event{Op: Lost}) // what happened in between
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

// unavailable says once that mailboxes will be polled.
func (w *Watcher) unavailable(dir string, err error) {
	w.mu.Lock()
	first := !w.warned
	w.warned = true
	w.mu.Unlock()
	if first {
		w.log.Warn("no file-system events, folders are polled instead", "directory", dir, "error", fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
}

// run drains both channels of fsnotify all the time: they are unbuffered, and
// an unread one stops the other.
func (w *Watcher) run() {
	defer close(w.done)
	events, errs := w.fs.Events, w.fs.Errors
	for events != nil {
		select {
		case ev, ok := <-events:
			if !ok {
				events = nil
				break
			}
			w.hold.wait()
			w.event(ev)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				break
			}
			w.lost(err)
		}
	}
}

func (w *Watcher) event(ev fsnotify.Event) {
	if w.barrier.arrived(ev) {
		return
	}
	var op Op
	switch {
	case ev.Has(fsnotify.Create):
		op = Appeared
	case ev.Has(fsnotify.Remove):
		op = Removed
	case ev.Has(fsnotify.Rename):
		op = MovedAway
	default:
		return // contents and attributes: messages do not change in place
	}
	dir, name := ev.Name, ""
	w.mu.Lock()
	wa := w.watches[dir]
	if wa == nil {
		if i := strings.LastIndexByte(ev.Name, '/'); i >= 0 {
			dir, name = ev.Name[:i], ev.Name[i+1:]
			wa = w.watches[dir]
		}
	}
	w.mu.Unlock()
	switch {
	case wa == nil:
	case name == "": // the directory itself went away
		wa.tell(Event{Op: Lost})
		if op == MovedAway {
			w.renewing.Add(1)
			go wa.renew()
		}
	default:
		wa.tell(Event{Name: name, Op: op})
	}
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
