// Package accept runs the listeners of one protocol server and ends its
// connections in an orderly way when the server stops.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Conn is one connection, as far as the end of the server concerns it.
type Conn interface {
	comparable
	// Wake tells it that the server stops: if it waits for its client, it says
	// good-bye and ends; if it works, it goes on to the end of that.
	Wake()
	// Cut ends it at once.
	Cut()
}

// ErrClosed is what Serve returns after Shutdown, and Enter once it began.
var ErrClosed = errors.New("server closed")

// Group is the listeners and connections of one server. Safe for concurrent use.
type Group[C Conn] struct {
	stop, work         context.Context
	beginStop, endWork context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[C]struct{}
	running   sync.WaitGroup
}

// New returns a group without any.
func New[C Conn]() *Group[C] {
	g := &Group[C]{listeners: map[net.Listener]struct{}{}, conns: map[C]struct{}{}}
	g.work, g.endWork = context.WithCancel(context.Background())
	g.stop, g.beginStop = context.WithCancel(g.work)
	return g
}

// Stop ends when Shutdown begins.
func (g *Group[C]) Stop() context.Context { return g.stop }

// Stopping says whether Shutdown began.
func (g *Group[C]) Stopping() bool { return g.stop.Err() != nil }

// Work ends when Shutdown does, or when it loses patience: what still runs then
// has to end too.
func (g *Group[C]) Work() context.Context { return g.work }

// Serve accepts connections and hands them to start, which must not block,
// until Shutdown; then it returns ErrClosed. An error that may pass, such as
// too many open files, is logged and waited out. The listener is closed when
// Serve returns.
func (g *Group[C]) Serve(l net.Listener, log *slog.Logger, start func(net.Conn)) error {
	defer l.Close()
	if !g.track(l) {
		return ErrClosed
	}
	defer g.untrack(l)
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			start(conn)
			continue
		}
		if g.Stopping() {
			return ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		log.Error("cannot accept connections, retrying", "address", l.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-g.stop.Done():
			return ErrClosed
		}
	}
}

func (g *Group[C]) track(l net.Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Stopping() {
		return false
	}
	g.listeners[l] = struct{}{}
	return true
}

func (g *Group[C]) untrack(l net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.listeners, l)
}

// Enter takes a connection in if admit lets it; the connection must Leave. The
// error is admit's or ErrClosed.
func (g *Group[C]) Enter(c C, admit func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Stopping() {
		return ErrClosed
	}
	if err := admit(); err != nil {
		return err
	}
	g.conns[c] = struct{}{}
	g.running.Add(1)
	return nil
}

// Leave ends what Enter began.
func (g *Group[C]) Leave(c C) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.running.Done()
}

// Len is how many connections there are.
func (g *Group[C]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// Each calls f for each connection. f must not block, nor call the group.
func (g *Group[C]) Each(f func(C)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		f(c)
	}
}

// Shutdown closes the listeners, wakes all connections and waits for their end.
// When ctx ends before, it cuts them off and returns the context's error.
func (g *Group[C]) Shutdown(ctx context.Context) error {
	defer g.endWork()
	g.mu.Lock()
	g.beginStop()
	for l := range g.listeners {
		_ = l.Close()
	}
	for c := range g.conns {
		c.Wake()
	}
	g.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		g.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	g.endWork()
	g.mu.Lock()
	for c := range g.conns {
		c.Cut()
	}
	g.mu.Unlock()
	<-ended
	return ctx.Err()
}
