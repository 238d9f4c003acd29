package watch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestHold: events that are held arrive in order, at the end of the hold or earlier, and
// Barrier does not wait for its end.
func TestHold(t *testing.T) {
	w := start(t)
	path := t.TempDir()
	var r recorder
	_, err := w.Add(open(t, path), r.add)
	must(t, err)
	want := []Event{{"a", Appeared}, {"b", Appeared}, {"a", Removed}}
	change := func() {
		for _, name := range []string{"a", "b"} {
			must(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
		}
		must(t, os.Remove(filepath.Join(path, "a")))
	}
	comes := func(when string) {
		t.Helper()
		var got []Event
		for end := time.Now().Add(time.Minute); len(got) < len(want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
			got = append(got, r.take()...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: events %v, want %v", when, got, want)
		}
		must(t, os.Remove(filepath.Join(path, "b")))
		arrive(t, w)
		r.take()
	}

	release := w.Hold()
	change()
	release()
	comes("after a hold")

	release = w.Hold()
	other := w.Hold()
	change()
	release()
	comes("in a hold")

	change()
	arrive(t, w)
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("after Barrier in a hold: events %v, want %v", got, want)
	}
	other()
}

// TestHoldWaits: an event is passed on when nobody holds events, or somebody waits for
// them, and otherwise after a while.
func TestHoldWaits(t *testing.T) {
	var h holding
	h.wait()
	h.begin()
	h.hurry()
	h.wait()
	h.unhurry()

	passes := func(by func()) {
		t.Helper()
		h.mu.Lock()
		open := h.open
		h.mu.Unlock()
		select {
		case <-open:
			t.Fatal("events are not held")
		default:
		}
		by()
		select {
		case <-open:
		default:
			t.Error("events are still held")
		}
	}
	passes(h.hurry)
	h.begin()
	h.end()
	h.unhurry()
	h.wait() // for holdFor
	h.begin()
	h.end()
	passes(h.end)
	h.wait()
	h.hurry()
	h.begin()
	h.wait()
	h.unhurry()
	passes(h.end)
}
