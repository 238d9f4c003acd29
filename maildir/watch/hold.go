package watch

import (
	"sync"
	"time"
)

const (
	// holdFor is the longest time for which a hold delays events.
	holdFor = 10 * time.Millisecond
	// passFor is for how long events are then passed on before they are delayed again.
	passFor = time.Millisecond
)

// holding delays events. While the goroutine that reads them waits, they accumulate in the
// kernel, which then wakes nobody for each of them and returns many at once.
type holding struct {
	mu      sync.Mutex
	holds   int           // holds that have not ended
	hurries int           // number of callers that wait for events
	open    chan struct{} // closed when events are to be passed on
	pass    time.Time     // until when they are passed on in any case
}

// begin delays events until end.
func (h *holding) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds++; h.holds == 1 {
		h.open = make(chan struct{})
		if h.hurries > 0 {
			close(h.open)
		}
	}
}

func (h *holding) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds--; h.holds == 0 && h.hurries == 0 {
		close(h.open)
	}
}

// hurry lets events pass until unhurry, whoever holds them.
func (h *holding) hurry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hurries++; h.hurries == 1 && h.holds > 0 {
		close(h.open)
	}
}

func (h *holding) unhurry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hurries--; h.hurries == 0 && h.holds > 0 {
		h.open = make(chan struct{})
	}
}

// wait returns when events may be passed on.
func (h *holding) wait() {
	h.mu.Lock()
	open := h.open
	held := h.holds > 0 && h.hurries == 0 && !time.Now().Before(h.pass)
	h.mu.Unlock()
	if !held {
		return
	}
	t := time.NewTimer(holdFor)
	defer t.Stop()
	select {
	case <-open:
	case <-t.C:
		h.mu.Lock()
		h.pass = time.Now().Add(passFor)
		h.mu.Unlock()
	}
}

// Hold delays the events of all directories, for a caller that is about to change many
// names: handling each event at once costs more than some of the changes. Events are
// delayed by at most 10 ms, and not while Barrier is waiting for them. The caller calls
// release after the changes.
func (w *Watcher) Hold() (release func()) {
	w.hold.begin()
	return w.hold.end
}
