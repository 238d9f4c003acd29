package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"maildird/server/accept"
	"maildird/server/limit"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = accept.ErrClosed

// Server is one of the protocols, on any number of listeners. Safe for
// concurrent use.
type Server struct {
	kind       Kind
	cfg        Config
	verbs      map[string]verb
	recipients recipients

	conns  *accept.Group[*conn]
	panics atomic.Uint64
}

// New returns a server that is not serving yet.
func New(kind Kind, cfg Config) *Server {
	cfg.setDefaults()
	srv := &Server{
		kind: kind, cfg: cfg, verbs: verbsOf(kind), recipients: newRecipients(&cfg),
		conns: accept.New[*conn](),
	}
	return srv
}

// Panics returns how many sessions ended by a fault of the program.
func (srv *Server) Panics() uint64 { return srv.panics.Load() }

// Greeting is how a server of that kind and host begins, behind the code. It names
// the protocol: "ESMTP" tells a client that it may say EHLO.
func Greeting(k Kind, hostname string) string {
	if k == LMTP {
		return hostname + " LMTP maildird"
	}
	return hostname + " ESMTP maildird"
}

// Serve takes connections from l until Shutdown, then returns ErrServerClosed.
// With implicitTLS they begin with a TLS handshake (RFC 8314). The listener is
// closed when Serve returns.
func (srv *Server) Serve(l net.Listener, implicitTLS bool) error {
	if implicitTLS && srv.cfg.TLS == nil {
		_ = l.Close()
		return errors.New("smtp: listener with TLS, but no certificate")
	}
	log := srv.cfg.Log.With("protocol", srv.kind.String())
	return srv.conns.Serve(l, log, func(nc net.Conn) { srv.start(nc, implicitTLS) })
}

// Shutdown closes the listeners, sends 421 to clients that are between two
// commands, and lets messages that are coming in be delivered. When ctx ends
// before all connections did, it cuts them off and returns the context's error.
func (srv *Server) Shutdown(ctx context.Context) error {
	return srv.conns.Shutdown(ctx)
}

// Cut implements accept.Conn.
func (c *conn) Cut() { _ = c.socket.Close() }

// start serves a connection in a goroutine of its own, or refuses it.
func (srv *Server) start(nc net.Conn, implicitTLS bool) {
	begun := srv.cfg.Connections.Begin(srv.conns.Stop())
	c := srv.newConn(nc, implicitTLS)
	if r := srv.admit(c); r != nil {
		if srv.cfg.Connections.Tell(srv.kind.String(), c.countedAddr(), c.began) {
			c.log.Warn("connection refused", "reason", r.Message, "more", "not logged again for a minute")
		}
		if !implicitTLS { // else it is not worth a handshake
			// A new connection has room for it: the time is for a machine that stands still.
			_ = nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
			_, _ = nc.Write(appendReply(nil, r.Code, r.EnhancedCode, r.Message))
		}
		_ = nc.Close()
		begun()
		return
	}
	c.begun = begun
	go func() {
		defer begun()
		defer srv.leave(c)
		c.serve()
	}()
}

func (srv *Server) newConn(nc net.Conn, implicitTLS bool) *conn {
	c := &conn{srv: srv, socket: nc, began: time.Now()}
	c.wire = wire{conn: nc}
	if implicitTLS {
		c.wire.conn = tls.Server(nc, srv.cfg.TLS)
	}
	c.peer.Peer = accept.NewPeer(nc)
	c.log = c.peer.Log(srv.cfg.Log, srv.kind.String())
	c.anonymous = c.log
	c.session = &session{srv: srv, peer: &c.peer, log: c.log}
	return c
}

// admit counts a new connection, or returns why it is refused.
func (srv *Server) admit(c *conn) *smtp.SMTPError {
	err := srv.conns.Enter(c, func() error {
		return srv.cfg.Connections.Admit(srv.kind.String(), c.countedAddr(), c.began)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, accept.ErrClosed):
		return refusal(421, code3{4, 3, 2}, "Server is shutting down, try again later")
	case errors.Is(err, limit.ErrFull):
		return refusal(421, code3{4, 3, 2}, "Too many connections, try again later")
	}
	return refusal(421, code3{4, 7, 0}, "Too many connections from your address, try again later")
}

// countedAddr is the address that the connection counts for: none for LMTP,
// whose relays have as many connections as there are.
func (c *conn) countedAddr() netip.Addr {
	if c.srv.kind == LMTP {
		return netip.Addr{}
	}
	return c.peer.Addr
}

// leave takes back what admit counted.
func (srv *Server) leave(c *conn) {
	srv.cfg.Connections.Leave(srv.kind.String(), c.countedAddr())
	c.leaveUser()
	srv.conns.Leave(c)
}
