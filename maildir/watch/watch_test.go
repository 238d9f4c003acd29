package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"maildird/maildir/dirfd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps events in the order in which they came.
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

// TestEvents also shows what the barrier is for: no test here waits otherwise.
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
	w.Barrier(context.Background())
	want := []Event{{"a", Appeared}, {"a", MovedAway}, {"b", Appeared}, {"a", Appeared}, {"b", Removed}}
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	wa.Close()
	must(t, os.Remove(a))
	w.Barrier(context.Background())
	if got := r.take(); len(got) != 0 {
		t.Errorf("events after Close: %v", got)
	}
}

// TestRenamedFolder: the watch follows the directory, and a new one of the old
// name is another directory.
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
	w.Barrier(context.Background())
	first.take()
	must(t, os.WriteFile(filepath.Join(old, "x"), nil, 0o600))
	w.Barrier(context.Background())
	if got, want := second.take(), []Event{{"x", Appeared}}; !slices.Equal(got, want) {
		t.Errorf("new directory of the old name: %v, want %v", got, want)
	}
	// It hears of its own renaming until it is watched again.
	if got := first.take(); slices.ContainsFunc(got, func(e Event) bool { return e.Op != Lost }) {
		t.Errorf("the renamed directory hears of the new one: %v", got)
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
	w.Barrier(context.Background())
	wa.Close()
	// Closing the handle is what ends the directory's inode; until then the
	// kernel keeps the watch. Neither may upset the watcher.
	w.Barrier(context.Background())
}

// TestOverflow: with more events than the kernel queues, everybody is told to
// look.
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
	for range 100 { // the backlog takes longer than one barrier waits
		w.Barrier(context.Background())
	}
	if got := r.take(); len(got) == 0 {
		t.Error("events were dropped and nobody was told to look")
	}
}
