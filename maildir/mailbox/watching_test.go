package mailbox

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// heard are the events that a watching without a mailbox was told of.
type heard struct {
	mu     sync.Mutex
	events []entry
}

func (h *heard) take() []entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	h.events = nil
	return events
}

// newWatching returns a watching of a folder that no mailbox has open.
func newWatching(t *testing.T, b *box) (*watching, *heard) {
	env := newEnv(t)
	dir, err := dirfd.Open(b.path)
	must(t, err)
	dirs, err := delivery.FindDirs(dir)
	must(t, err)
	h := &heard{}
	w := &watching{watcher: env.Watcher, dirs: &mailDirs{Dirs: dirs}, log: env.Log, muteFrom: muteFrom, poll: func() {}}
	w.event = func(where table.Place, ev watch.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, entry{where: where, name: ev.Name})
	}
	t.Cleanup(func() {
		w.end()
		dirs.Close()
		_ = dir.Close()
	})
	return w, h
}

// await waits until all events that there are have been told.
func (w *watching) await(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !w.watcher.Barrier(ctx); {
		if time.Now().After(end) {
			t.Fatal("events do not come")
		}
	}
}

// TestWatching: events are told with the directory that they are from, once the watching has
// begun, and those of cur/ not while it is muted.
func TestWatching(t *testing.T) {
	b := newBox(t)
	w, h := newWatching(t, b)
	w.begin()
	w.join()
	if !w.on || !w.kept.Load() || w.poller != nil {
		t.Fatalf("on %v, kept %v, poller %v", w.on, w.kept.Load(), w.poller)
	}
	put := func(names ...string) {
		for _, name := range names {
			must(t, os.WriteFile(b.file(name), nil, 0o600))
		}
		w.await(t)
	}
	put("new/a", "cur/b")
	if got, want := h.take(), []entry{{where: table.InNew, name: "a"}, {where: table.InCur, name: "b"}}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	unmute := w.mute(muteFrom, muteFrom, 1)
	must(t, os.WriteFile(b.file("cur/c"), nil, 0o600))
	unmute()
	w.await(t)
	if got := h.take(); slices.Contains(got, entry{where: table.InCur, name: "c"}) {
		t.Errorf("told %v of a directory that was muted", got)
	}
	put("cur/d")
	if got := h.take(); !slices.Contains(got, entry{where: table.InCur, name: "d"}) {
		t.Errorf("told %v after it was unmuted", got)
	}
	w.retire()
	put("new/e", "cur/e")
	if got := h.take(); len(got) > 0 {
		t.Errorf("told %v after the end", got)
	}
}

// TestWatchingRetired: what is requested later is given back if the watching has ended by
// then.
func TestWatchingRetired(t *testing.T) {
	w, _ := newWatching(t, newBox(t))
	done := make(chan bool, 1)
	w.beginLater(func(set func() bool) {
		w.retire()
		done <- set()
	})
	if !w.kept.Load() {
		t.Error("a folder that is about to be watched is not kept")
	}
	if <-done {
		t.Error("the watches were set")
	}
	if w.wait(); w.watches != nil || w.on {
		t.Errorf("watches %v, on %v", w.watches, w.on)
	}
}

// TestWatchingNothing: without events, the folder is polled.
func TestWatchingNothing(t *testing.T) {
	w, _ := newWatching(t, newBox(t))
	must(t, w.watcher.Close())
	w.begin()
	if w.join(); w.on || w.kept.Load() || w.poller == nil {
		t.Errorf("on %v, kept %v, poller %v", w.on, w.kept.Load(), w.poller)
	}
}

// TestPollerGoesOn: a panic in one look ends neither the program nor the polling.
func TestPollerGoesOn(t *testing.T) {
	again := make(chan struct{})
	looks := 0
	p := startPoller(slog.New(slog.DiscardHandler), time.Millisecond, func() {
		if looks++; looks == 1 {
			panic("a fault")
		} else if looks == 2 {
			close(again)
		}
	})
	<-again
	p.stop()
}
