package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/accept"
	"maildird/server/imap/syntax"
	"maildird/server/imap/wire"
	"maildird/server/limit"
)

// Server serves IMAP on any number of listeners. It is safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	grammar *grammar
	caps    capabilities

	sessions *accept.Group[*session]

	helpers chan struct{} // one entry for each helper of a search or FETCH that is running
	sorting *limit.Shares // memory for texts that SORT and THREAD compare
}

// New returns a server with these settings. It has no connections until Serve is
// called.
func New(cfg Config) *Server {
	cfg.setDefaults()
	srv := &Server{cfg: cfg, log: cfg.Log, sessions: accept.New[*session]()}
	srv.helpers = make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	srv.sorting = limit.NewShares(srv.cfg.Limits.Sorting)
	srv.grammar = newGrammar(extensions(&srv.cfg))
	srv.caps = newCapabilities(srv.grammar)
	return srv
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = accept.ErrClosed

// Serve accepts connections until Shutdown is called, then returns ErrServerClosed.
// With implicitTLS, connections begin with a TLS handshake (RFC 8314). Serve closes the
// listener when it returns.
func (srv *Server) Serve(l net.Listener, implicitTLS bool) error {
	if implicitTLS && srv.cfg.TLS == nil {
		_ = l.Close()
		return errors.New("imap: listener with TLS, but no certificate")
	}
	return srv.sessions.Serve(l, srv.log.With("protocol", service), func(conn net.Conn) { srv.start(conn, implicitTLS) })
}

// Shutdown closes the listeners, sends BYE to sessions that are waiting for their
// client, aborts TLS handshakes, and lets running commands finish. If ctx ends first,
// it closes the remaining connections and returns the error of ctx.
func (srv *Server) Shutdown(ctx context.Context) error {
	return srv.sessions.Shutdown(ctx)
}

// Wake implements accept.Conn.
func (s *session) Wake() { s.wire.Wake(wire.NewsShutdown) }

// Cut implements accept.Conn.
func (s *session) Cut() { s.wire.Cut() }

// start serves a connection in a new goroutine, or refuses it.
func (srv *Server) start(conn net.Conn, implicitTLS bool) {
	begun := srv.cfg.Connections.Begin(srv.sessions.Work())
	s := srv.newSession(conn, implicitTLS)
	if refusal := srv.admit(s); refusal != nil {
		if srv.cfg.Connections.Tell(service, s.peer.Addr, s.began) {
			s.log.Warn("connection refused", "reason", reason(refusal), "more", "not logged again for a minute")
		}
		if implicitTLS { // a refusal is not worth a handshake
			s.wire.Close()
			begun()
			return
		}
		go func() {
			defer begun()
			defer s.recovered()
			s.refuse(refusal)
		}()
		return
	}
	go func() {
		defer begun()
		defer srv.leave(s)
		s.serve(begun)
	}()
}

func (srv *Server) newSession(conn net.Conn, implicitTLS bool) *session {
	s := &session{srv: srv, ctx: srv.sessions.Work(), began: time.Now(), peer: accept.NewPeer(conn)}
	s.wire = &wire.Conn{Socket: conn, Stream: conn, ReadTimeout: srv.cfg.Timeouts.Read, WriteTimeout: writeTimeout,
		Until: s.began.Add(srv.cfg.Timeouts.Login)}
	if implicitTLS {
		s.wire.Stream = tls.Server(conn, srv.cfg.TLS)
		s.tls = true
	}
	s.lx = newLexer(s)
	s.w = &writer{syntax.Writer{Dest: s.wire}}
	s.anonymous = s.peer.Log(srv.log, service)
	s.log = s.anonymous
	return s
}

// service is the name under which connections are counted and logged.
const service = "imap"

// admit counts a new connection, or returns the reason to refuse it.
func (srv *Server) admit(s *session) error {
	err := srv.sessions.Enter(s, func() error {
		return srv.cfg.Connections.Admit(service, s.peer.Addr, s.began)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, accept.ErrClosed):
		return bye(imap.ResponseCodeUnavailable, "Server is shutting down.")
	case errors.Is(err, limit.ErrFull):
		return bye(imap.ResponseCodeUnavailable, "Too many connections, try again later.")
	}
	return bye(imap.ResponseCodeUnavailable, "Too many connections from your address.")
}

// leave undoes admit.
func (srv *Server) leave(s *session) {
	srv.cfg.Connections.Leave(service, s.peer.Addr)
	srv.sessions.Leave(s)
}
