package imap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/limit"
)

// Server serves IMAP on any number of listeners. Safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	grammar *grammar
	caps    capabilities

	ctx    context.Context // of all sessions
	cancel context.CancelFunc
	// stop ends when Shutdown begins.
	stop      context.Context
	beginStop context.CancelFunc

	stopping atomic.Bool // set under mu
	panics   atomic.Uint64

	helpers chan struct{} // holds one a helper of a search that runs

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	running   sync.WaitGroup
}

// New returns a server with these settings. It has no connections until Serve.
func New(cfg Config) *Server {
	cfg.setDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	srv := &Server{
		cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel,
		listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{},
	}
	srv.stop, srv.beginStop = context.WithCancel(ctx)
	srv.helpers = make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	srv.grammar = newGrammar(extensions(&srv.cfg))
	srv.caps = newCapabilities(srv.grammar)
	return srv
}

// Panics returns how many sessions ended by a fault of the program.
func (srv *Server) Panics() uint64 { return srv.panics.Load() }

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("imap: server closed")

// Serve accepts connections until Shutdown, then returns ErrServerClosed. With
// implicitTLS they begin with a TLS handshake (RFC 8314). The listener is
// closed when Serve returns.
func (srv *Server) Serve(l net.Listener, implicitTLS bool) error {
	defer l.Close()
	if implicitTLS && srv.cfg.TLS == nil {
		return errors.New("imap: listener with TLS, but no certificate")
	}
	if !srv.track(l) {
		return ErrServerClosed
	}
	defer srv.untrack(l)
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			srv.start(conn, implicitTLS)
			continue
		}
		if srv.stopping.Load() {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Such as too many open files: it passes when clients leave.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		srv.log.Error("cannot accept IMAP connections, trying again", "address", l.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-srv.ctx.Done():
			return ErrServerClosed
		}
	}
}

func (srv *Server) track(l net.Listener) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopping.Load() {
		return false
	}
	srv.listeners[l] = struct{}{}
	return true
}

func (srv *Server) untrack(l net.Listener) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.listeners, l)
}

// Shutdown closes the listeners, says BYE to sessions that wait for their
// client, ends those in a TLS handshake, and lets commands that run finish. When ctx ends before all sessions
// did, it cuts them off and returns the context's error.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	srv.stopping.Store(true)
	srv.beginStop()
	for l := range srv.listeners {
		_ = l.Close()
	}
	for s := range srv.sessions {
		s.wire.wake(newsShutdown)
	}
	srv.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		srv.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		srv.cancel()
		return nil
	case <-ctx.Done():
	}
	srv.cancel()
	srv.mu.Lock()
	for s := range srv.sessions {
		s.wire.cut()
	}
	srv.mu.Unlock()
	<-ended
	return ctx.Err()
}

// start serves a connection in a goroutine of its own, or refuses it.
func (srv *Server) start(conn net.Conn, implicitTLS bool) {
	begun := srv.cfg.Connections.Begin(srv.ctx)
	s := srv.newSession(conn, implicitTLS)
	if refusal := srv.admit(s); refusal != nil {
		s.log.Warn("connection refused", "reason", refusal)
		if implicitTLS { // not worth a handshake
			s.wire.close()
			begun()
			return
		}
		go func() {
			defer begun()
			s.refuse(refusal)
		}()
		return
	}
	go func() {
		defer begun()
		defer srv.running.Done()
		defer srv.leave(s)
		s.serve(begun)
	}()
}

func (srv *Server) newSession(conn net.Conn, implicitTLS bool) *session {
	s := &session{srv: srv, ctx: srv.ctx, began: time.Now()}
	s.wire = &wire{socket: conn, conn: conn, read: srv.cfg.Timeouts.Read, write: srv.cfg.Timeouts.Write,
		until: s.began.Add(srv.cfg.Timeouts.Login)}
	if implicitTLS {
		s.wire.conn = tls.Server(conn, srv.cfg.TLS)
		s.tls = true
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		s.remote = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	s.lx = newLexer(s, srv.grammar, srv.cfg.lexLimits(false), s.continueLiteral)
	s.w = &writer{dst: s.wire}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	s.anonymous = srv.log.With("protocol", "imap", "session", hex.EncodeToString(id[:]), "remote", s.remoteText())
	s.log = s.anonymous
	return s
}

func (s *session) remoteText() string {
	if s.remote.IsValid() {
		return s.remote.Addr().String()
	}
	return "unix"
}

// service is what connections are counted as.
const service = "imap"

// admit counts a new connection, or returns why it is refused.
func (srv *Server) admit(s *session) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopping.Load() {
		return bye(imap.ResponseCodeUnavailable, "Server is shutting down.")
	}
	switch err := srv.cfg.Connections.Admit(service, s.remote.Addr(), s.began); {
	case errors.Is(err, limit.ErrFull):
		return bye(imap.ResponseCodeUnavailable, "Too many connections, try again later.")
	case err != nil:
		return bye(imap.ResponseCodeUnavailable, "Too many connections from your address.")
	}
	srv.sessions[s] = struct{}{}
	srv.running.Add(1)
	return nil
}

// leave takes back what admit counted.
func (srv *Server) leave(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s)
	srv.cfg.Connections.Leave(service, s.remote.Addr())
}
