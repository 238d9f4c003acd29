package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

// member is a connection that ends when it is woken, or only when it is cut, or when the server
// no longer waits for its work.
type member struct {
	kind       string
	work       context.Context
	woken, cut chan struct{}
	once       sync.Once
}

func newMember(kind string, work context.Context) *member {
	return &member{kind: kind, work: work, woken: make(chan struct{}), cut: make(chan struct{})}
}

func (m *member) Wake() { close(m.woken) }
func (m *member) Cut()  { m.once.Do(func() { close(m.cut) }) }

func (m *member) serve() {
	<-m.woken
	switch m.kind {
	case "stubborn":
		<-m.cut
	case "working":
		<-m.work.Done()
	}
}

func TestShutdown(t *testing.T) {
	for _, kind := range []string{"waiting", "stubborn", "working"} {
		g := New[*member]()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		entered := make(chan error, 2)
		served := make(chan error, 1)
		go func() {
			served <- g.Serve(l, slog.New(slog.DiscardHandler), func(conn net.Conn) {
				m := newMember(kind, g.Work())
				err := g.Enter(m, func() error { return nil })
				entered <- err
				go func() {
					defer conn.Close()
					defer g.Leave(m)
					m.serve()
				}()
			})
		}()
		for range 2 {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := <-entered; err != nil {
				t.Fatal(err)
			}
		}
		if g.Len() != 2 || g.Stopping() {
			t.Fatalf("%d connections, stopping: %v", g.Len(), g.Stopping())
		}
		grace, want := time.Minute, error(nil)
		if kind != "waiting" {
			grace, want = 10*time.Millisecond, context.DeadlineExceeded
		}
		ctx, cancel := context.WithTimeout(t.Context(), grace)
		if err := g.Shutdown(ctx); !errors.Is(err, want) {
			t.Errorf("Shutdown: %v, want %v", err, want)
		}
		cancel()
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if g.Len() != 0 || g.Work().Err() == nil {
			t.Errorf("%d connections are left, work: %v", g.Len(), g.Work().Err())
		}
		if err := g.Enter(newMember("waiting", nil), func() error { return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("Enter after Shutdown: %v", err)
		}
		if err := g.Serve(l, slog.Default(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Serve after Shutdown: %v", err)
		}
	}
}

func TestEnterAsksFirst(t *testing.T) {
	g := New[*member]()
	full := errors.New("full")
	if err := g.Enter(newMember("waiting", nil), func() error { return full }); !errors.Is(err, full) || g.Len() != 0 {
		t.Fatalf("Enter: %v, %d connections", err, g.Len())
	}
}
