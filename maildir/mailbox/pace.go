package mailbox

import (
	"sync"
	"time"
)

// pace limits how often something is done that anybody may ask for at any time. The zero
// value means that it was never done. It may be used concurrently.
type pace struct {
	mu   sync.Mutex
	last time.Time
}

// due reports whether it is to be done, because it was done last at least that long before
// now, or, according to the clock, after it. If so, the caller does it.
func (p *pace) due(now time.Time, every time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last).Abs() < every {
		return false
	}
	p.last = now
	return true
}

// done notes that it was just done.
func (p *pace) done(now time.Time) { p.set(now) }

// again makes it due.
func (p *pace) again() { p.set(time.Time{}) }

func (p *pace) set(last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = last
}
