package limit

import (
	"context"
	"runtime"
	"sync"
)

// pace lets few connections begin at a time. The others wait in the kernel's
// queue, so that a flood of them does not keep sessions waiting that have work
// to do.
type pace chan struct{}

func newPace() pace { return make(pace, max(1, runtime.GOMAXPROCS(0)-1)) }

// Begin waits until a connection that was accepted may begin, or ctx ends. The
// function that it returns is to be called when the connection has begun to
// wait for its client, or ends; it may be called again.
func (c *Connections) Begin(ctx context.Context) (begun func()) {
	select {
	case c.pace <- struct{}{}:
		return sync.OnceFunc(func() { <-c.pace })
	case <-ctx.Done():
		return func() {}
	}
}
