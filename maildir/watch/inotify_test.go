package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNobodyIsWoken: between two waits, events wake nobody, and the next wait has what
// accumulated.
func TestNobodyIsWoken(t *testing.T) {
	in, err := newInotify()
	must(t, err)
	defer in.close()
	path := t.TempDir()
	_, err = in.add(open(t, path).Fd(), named)
	must(t, err)
	names := []string{"a", "b", "c"}
	fill := func() {
		for _, name := range names {
			must(t, os.WriteFile(filepath.Join(path, name), []byte("x"), 0o600)) // of the content nothing is told
		}
	}
	for range 2 {
		fill()
		must(t, in.conn.Read(func(ep uintptr) bool {
			if ready(int(ep)) {
				t.Error("events wake one who did not ask for them")
			}
			return true
		}))
		if !in.wait() {
			t.Fatal("the wait ended")
		}
		var got []string
		events, err := in.read()
		must(t, err)
		for ev := range events {
			got = append(got, string(ev.name))
		}
		if len(got) != len(names) {
			t.Errorf("read %q, want %q", got, names)
		}
		for _, name := range names {
			must(t, os.Remove(filepath.Join(path, name)))
		}
		if in.wait() {
			_, err = in.read()
			must(t, err)
		}
	}

	time.AfterFunc(10*time.Millisecond, func() { _ = in.stop() })
	if in.wait() {
		t.Error("the wait went on after the end")
	}
}

// TestClosedTwice: a closed watcher gives out no more watches, and those that it gave out
// can be closed.
func TestClosedTwice(t *testing.T) {
	w := start(t) // which closes it again
	wa, err := w.Add(open(t, t.TempDir()), func(Event) {})
	must(t, err)
	must(t, w.Close())
	if _, err := w.Add(open(t, t.TempDir()), func(Event) {}); err == nil {
		t.Error("a closed watcher gave a watch")
	}
	wa.Close()
}
