package limit

import (
	"context"
	"runtime"
	"sync"
)

// pace limits the number of connections that are starting at the same time. The others wait
// in the kernel's queue, so that a flood of new connections does not delay sessions that
// have work to do.
type pace chan struct{}

func newPace() pace { return make(pace, max(1, runtime.GOMAXPROCS(0)-1)) }

// Begin waits until an accepted connection may start, or until ctx ends. The caller must call
// the returned function when the connection first waits for its client, and when it ends; only
// the first call has an effect.
func (c *Connections) Begin(ctx context.Context) (begun func()) {
	select {
	case c.pace <- struct{}{}:
		return sync.OnceFunc(func() { <-c.pace })
	case <-ctx.Done():
		return func() {}
	}
}
