package watch

import (
	"errors"
	"log/slog"
	"testing"

	"maildird/maildir/dirfd"
)

// TestWatchedTwice: a directory that is already watched gets no second watch, which would
// get no events, and would end with the first one.
func TestWatchedTwice(t *testing.T) {
	w := New(slog.New(slog.DiscardHandler))
	defer w.Close()
	path := t.TempDir()
	open := func() *dirfd.Dir {
		dir, err := dirfd.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dir.Close() })
		return dir
	}
	one, err := w.Add(open(), func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(open(), func(Event) {}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the second watch gives %v", err)
	}
	one.Close()
	again, err := w.Add(open(), func(Event) {})
	if err != nil {
		t.Fatal("after the first was closed:", err)
	}
	again.Close()
}
