package watch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/scripts/rig/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// recorder stores events in the order in which they came.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) add(e Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
}

func (r *recorder) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events
	r.events = nil
	return e
}

func open(t *testing.T, path string) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) *Watcher {
	w := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { must(t, w.Close()) })
	return w
}

// TestEvents also shows what the barrier is for: no test here waits in any other way.
func TestEvents(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	var r recorder
	wa, err := w.Add(open(t, path), r.add)
	must(t, err)
	a, b := filepath.Join(path, "a"), filepath.Join(path, "b")
	must(t, os.WriteFile(a, []byte("x"), 0o600))
	must(t, os.Rename(a, b))
	must(t, os.Link(b, a))
	must(t, os.Remove(b))
	must(t, os.Chmod(a, 0o644))
	arrive(t, w)
	want := []Event{{"a", Appeared}, {"a", MovedAway}, {"b", Appeared}, {"a", Appeared}, {"b", Removed}}
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	wa.Close()
	must(t, os.Remove(a))
	arrive(t, w)
	if got := r.take(); len(got) != 0 {
		t.Errorf("events after Close: %v", got)
	}
}

// TestShared: for a directory that other hosts may change, events report only what this host
// does, and the watch says so. A file system of unknown type may be shared.
func TestShared(t *testing.T) {
	w := start(t)
	for _, shared := range []bool{false, true} {
		path := t.TempDir()
		d := open(t, path)
		d.Before(func(op, _ string) error {
			if shared && op == "statfs" {
				return os.ErrPermission
			}
			return nil
		})
		var r recorder
		wa, err := w.Add(d, r.add)
		must(t, err)
		if wa.Partial() != shared {
			t.Errorf("shared %v: Partial is %v", shared, wa.Partial())
		}
		must(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o600))
		arrive(t, w)
		if got, want := r.take(), []Event{{"a", Appeared}}; !slices.Equal(got, want) {
			t.Errorf("shared %v: events %v, want %v", shared, got, want)
		}
		wa.Close()
	}
}

// TestPause: nothing is reported for a directory that is paused, then that something may
// have been missed, and then everything again.
func TestPause(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	var r recorder
	wa, err := w.Add(open(t, path), r.add)
	must(t, err)
	wa.Pause()
	must(t, os.WriteFile(filepath.Join(path, "missed"), nil, 0o600))
	arrive(t, w)
	if got := r.take(); len(got) != 0 {
		t.Errorf("events of a paused directory: %v", got)
	}
	must(t, wa.Resume())
	must(t, os.WriteFile(filepath.Join(path, "told"), nil, 0o600))
	arrive(t, w)
	if got, want := r.take(), []Event{{"", Lost}, {"told", Appeared}}; !slices.Equal(got, want) {
		t.Errorf("events after the pause: %v, want %v", got, want)
	}
	wa.Pause()
	wa.Close()
	if err := wa.Resume(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a watch that is closed was resumed: %v", err)
	}
	if got := r.take(); len(got) != 0 {
		t.Errorf("events after Close: %v", got)
	}
}

// TestPanic: a bug triggered by one event makes the folder be scanned, and events continue.
func TestPanic(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	var r recorder
	wa, err := w.Add(open(t, path), func(e Event) {
		if e.Name == "bad" {
			panic("a fault with a name")
		}
		r.add(e)
	})
	must(t, err)
	defer wa.Close()
	for _, name := range []string{"bad", "good"} {
		must(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	arrive(t, w)
	if got, want := r.take(), []Event{{"", Lost}, {"good", Appeared}}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestRenamedFolder: the watch follows the directory, and a new one with the old name is a
// different directory.
func TestRenamedFolder(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	old, moved := filepath.Join(path, "old"), filepath.Join(path, "moved")
	must(t, os.Mkdir(old, 0o700))
	var first, second recorder
	wa, err := w.Add(open(t, old), first.add)
	must(t, err)
	defer wa.Close()
	must(t, os.Rename(old, moved))
	must(t, os.Mkdir(old, 0o700))
	wb, err := w.Add(open(t, old), second.add)
	must(t, err)
	defer wb.Close()
	arrive(t, w)
	first.take()
	must(t, os.WriteFile(filepath.Join(old, "x"), nil, 0o600))
	arrive(t, w)
	if got, want := second.take(), []Event{{"x", Appeared}}; !slices.Equal(got, want) {
		t.Errorf("new directory of the old name: %v, want %v", got, want)
	}
	if got := first.take(); len(got) != 0 {
		t.Errorf("the renamed directory hears of the new one: %v", got)
	}
	must(t, os.WriteFile(filepath.Join(moved, "y"), nil, 0o600))
	arrive(t, w)
	if got, want := first.take(), []Event{{"y", Appeared}}; !slices.Equal(got, want) {
		t.Errorf("after its renaming: %v, want %v", got, want)
	}
}

func TestRemovedFolder(t *testing.T) {
	w := start(t)
	path := filepath.Join(t.TempDir(), "d")
	must(t, os.Mkdir(path, 0o700))
	var r recorder
	wa, err := w.Add(open(t, path), r.add)
	must(t, err)
	must(t, os.Remove(path))
	arrive(t, w)
	wa.Close()
	// Closing the handle frees the directory's inode; until then the kernel keeps the watch.
	// Neither may disturb the watcher.
	arrive(t, w)
}

// TestOverflow: with more events than the kernel queues, all watches are told to look.
func TestOverflow(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	hold := make(chan struct{})
	var once sync.Once
	var r recorder
	wa, err := w.Add(open(t, path), func(e Event) {
		once.Do(func() { <-hold })
		if e.Op == Lost {
			r.add(e)
		}
	})
	must(t, err)
	defer wa.Close()
	a, b := filepath.Join(path, "a"), filepath.Join(path, "b")
	must(t, os.WriteFile(a, nil, 0o600))
	for range 20_000 { // two events each; the queue holds 16,384 by default
		must(t, os.Rename(a, b))
		must(t, os.Rename(b, a))
	}
	close(hold)
	arrive(t, w) // the backlog takes longer than one barrier waits
	if got := r.take(); len(got) == 0 {
		t.Error("events were dropped and nobody was told to look")
	}
}

// arrive waits until all events so far have arrived, however slow the machine is.
func arrive(t *testing.T, w *Watcher) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !w.Barrier(context.Background()); {
		if time.Now().After(end) {
			t.Fatal("the barrier's event does not come")
		}
	}
}

// TestBarrierGivesUp: a caller that waits for a watcher that lags behind is told so, and a
// late event is not mistaken for that of a later wait. Any number of callers can wait at
// once.
func TestBarrierGivesUp(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	hold := make(chan struct{})
	var r recorder
	wa, err := w.Add(open(t, path), func(e Event) {
		<-hold
		r.add(e)
	})
	must(t, err)
	defer wa.Close()
	must(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o600))
	var waiting sync.WaitGroup
	for range 8 {
		waiting.Go(func() {
			if w.Barrier(context.Background()) {
				t.Error("the barrier passed an event that is being worked on")
			}
		})
	}
	waiting.Wait()
	close(hold)
	for range 20 {
		must(t, os.WriteFile(filepath.Join(path, "b"), nil, 0o600))
		must(t, os.Remove(filepath.Join(path, "b")))
		if w.Barrier(context.Background()) {
			if got, want := r.take(), (Event{"b", Removed}); got[len(got)-1] != want {
				t.Fatalf("the barrier passed events: %v came", got)
			}
		}
	}
}

// TestBarrierSeesAll: what happened before Barrier was called has been reported when it
// returns, even while many other events arrive.
func TestBarrierSeesAll(t *testing.T) {
	w := start(t)
	path, busy := t.TempDir(), t.TempDir()
	var r recorder
	wa, err := w.Add(open(t, path), r.add)
	must(t, err)
	defer wa.Close()
	wb, err := w.Add(open(t, busy), func(Event) {})
	must(t, err)
	defer wb.Close()
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		name := filepath.Join(busy, "x")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if i%64 == 0 { // and then none for a moment
				time.Sleep(time.Millisecond)
			}
			_ = os.WriteFile(name, nil, 0o600)
			_ = os.Remove(name)
		}
	})
	for range 1000 {
		must(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o600))
		if passed, got := w.Barrier(context.Background()), r.take(); passed && !slices.Equal(got, []Event{{"a", Appeared}}) {
			t.Errorf("the barrier passed an event: %v came", got)
		} else if !passed {
			arrive(t, w)
		}
		must(t, os.Remove(filepath.Join(path, "a")))
		arrive(t, w)
		r.take()
	}
	close(stop)
	others.Wait()
}

// TestBarrierElsewhere: the watcher can use another directory than that for temporary
// files; without any it logs so once, and knows nothing.
func TestBarrierElsewhere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("TMPDIR", missing)
	w := New(slog.New(slog.DiscardHandler), missing, t.TempDir())
	defer func() { must(t, w.Close()) }()
	arrive(t, w)

	var log bytes.Buffer
	without := New(slog.New(slog.NewTextHandler(&log, nil)), missing)
	defer func() { must(t, without.Close()) }()
	path, hold := t.TempDir(), make(chan struct{})
	wa, err := without.Add(open(t, path), func(Event) { <-hold })
	must(t, err)
	defer wa.Close()
	must(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o600))
	for range 3 {
		if without.Barrier(context.Background()) {
			t.Error("it is sure of events without a mark")
		}
	}
	close(hold)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, missing) {
		t.Errorf("the log says\n%s", got)
	}
}

// TestNoWatchForMarks: a file that cannot be watched is not reported as a full disk.
func TestNoWatchForMarks(t *testing.T) {
	in, err := newInotify()
	must(t, err)
	in.close()
	b := newBarrier(in, nil, slog.New(slog.DiscardHandler), nil)
	if _, err := b.markIn(t.TempDir()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want one that says that there are no events", err)
	}
	if _, err := b.markIn(filepath.Join(t.TempDir(), "missing")); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want one of the file", err)
	}
}
