// Package accept runs the listeners of a protocol server, ends its connections in an
// orderly way when the server stops, and says in plain words why a connection ended.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Conn is a connection that can be stopped. Its methods may be called by any goroutine. They must
// neither block nor call methods of the group.
type Conn interface {
	comparable
	// Wake tells the connection that the server is stopping. If it is waiting for its client,
	// it must say goodbye and end; if it is working, it may finish that first.
	Wake()
	// Cut closes the connection at once.
	Cut()
}

// ErrClosed is returned by Serve after Shutdown, and by Enter once Shutdown has begun.
var ErrClosed = errors.New("server closed")

// Group is the listeners and connections of a server. It is safe for concurrent use.
type Group[C Conn] struct {
	stop, work         context.Context
	beginStop, endWork context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[C]struct{}
	running   sync.WaitGroup
}

// New returns an empty group.
func New[C Conn]() *Group[C] {
	g := &Group[C]{listeners: map[net.Listener]struct{}{}, conns: map[C]struct{}{}}
	g.work, g.endWork = context.WithCancel(context.Background())
	g.stop, g.beginStop = context.WithCancel(g.work)
	return g
}

// Stop returns a context that is cancelled when Shutdown begins.
func (g *Group[C]) Stop() context.Context { return g.stop }

// Stopping reports whether Shutdown has begun.
func (g *Group[C]) Stopping() bool { return g.stop.Err() != nil }

// Work returns a context that is cancelled when Shutdown returns or its ctx ends. Whatever is
// still running then must end.
func (g *Group[C]) Work() context.Context { return g.work }

// Serve accepts connections and calls start for each until Shutdown is called; then it returns
// ErrClosed. While start has not returned, further connections wait in the kernel's queue. Errors
// that may be temporary, such as too many open files, are logged, and Serve retries after a pause.
// It closes the listener when it returns.
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

// Enter adds a connection if admit returns nil; it must be removed with Leave. The error is
// that of admit, or ErrClosed.
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

// Leave removes a connection that Enter has added.
func (g *Group[C]) Leave(c C) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.running.Done()
}

// Len returns the number of connections.
func (g *Group[C]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// Each calls f for each connection. f must neither block nor call methods of the group.
func (g *Group[C]) Each(f func(C)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		f(c)
	}
}

// Shutdown closes the listeners, wakes all connections and waits until they have ended. If ctx
// ends first, it cuts them, waits for the rest of their work, and returns the error of ctx.
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
