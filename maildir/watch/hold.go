package watch

import (
	"sync"
	"time"
)

const (
	// holdFor bounds how long events wait for the end of a hold.
	holdFor = 10 * time.Millisecond
	// passFor is how long events then pass before they wait again.
	passFor = time.Millisecond
)

// holding has events wait. While the goroutine that reads them waits, they gather
// in the kernel, which then wakes nobody for each and gives many at once.
type holding struct {
	mu      sync.Mutex
	holds   int           // that did not end yet
	hurries int           // how many wait for events
	open    chan struct{} // closed when events are to pass
	pass    time.Time     // until when they do in any case
}

// begin has events wait until end.
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

// hurry has events pass until unhurry, whoever holds them.
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

// wait returns when events may pass.
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

// Hold has the events of all directories wait, for one who is about to change many
// names himself: to be told of each at once costs more than some of the changes. They
// wait 10 ms at most, and not while Barrier waits for them. Call the function that it
// returns after the changes.
func (w *Watcher) Hold() (release func()) {
	w.hold.begin()
	return w.hold.end
}
