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

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = accept.ErrClosed

// Server serves one of the protocols on any number of listeners. It is safe for concurrent use.
type Server struct {
	kind       Kind
	cfg        Config
	verbs      map[string]verb
	recipients recipients

	conns *accept.Group[*conn]
	held  atomic.Int64 // see session.hold
}

// New returns a server of a kind with these settings.
func New(kind Kind, cfg Config) *Server {
	cfg.setDefaults()
	srv := &Server{
		kind: kind, cfg: cfg, verbs: verbsOf(kind), recipients: newRecipients(&cfg),
		conns: accept.New[*conn](),
	}
	return srv
}

// Greeting returns the text of a greeting without its code. It names the protocol: "ESMTP"
// tells the client that it may use EHLO.
func Greeting(k Kind, hostname string) string {
	if k == LMTP {
		return hostname + " LMTP maildird"
	}
	return hostname + " ESMTP maildird"
}

// Serve accepts connections until Shutdown is called, then returns ErrServerClosed. With
// implicitTLS, connections begin with a TLS handshake (RFC 8314). Serve closes the
// listener when it returns.
func (srv *Server) Serve(l net.Listener, implicitTLS bool) error {
	if implicitTLS && srv.cfg.TLS == nil {
		_ = l.Close()
		return errors.New("smtp: listener with TLS, but no certificate")
	}
	log := srv.cfg.Log.With("protocol", srv.kind.String())
	return srv.conns.Serve(l, log, func(nc net.Conn) { srv.start(nc, implicitTLS) })
}

// Shutdown closes the listeners, sends 421 to clients that are between two commands, and lets
// messages that are being received be delivered. If ctx ends first, it closes the remaining
// connections and returns the error of ctx.
func (srv *Server) Shutdown(ctx context.Context) error {
	return srv.conns.Shutdown(ctx)
}

// Cut implements accept.Conn.
func (c *conn) Cut() { _ = c.wire.socket.Close() }

// start serves a connection in a new goroutine, or refuses it.
func (srv *Server) start(nc net.Conn, implicitTLS bool) {
	begun := srv.cfg.Connections.Begin(srv.conns.Stop())
	c := srv.newConn(nc, implicitTLS)
	if r := srv.admit(c); r != nil {
		if srv.cfg.Connections.Tell(srv.kind.String(), c.countedAddr(), c.began) {
			c.log.Warn("connection refused", "reason", r.Message, "more", "not logged again for a minute")
		}
		if !implicitTLS { // otherwise a refusal is not worth a handshake
			// A new connection has room for it; the deadline is for when the system stalls.
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
	c := &conn{srv: srv, began: time.Now()}
	c.wire = wire{socket: nc, conn: nc}
	if implicitTLS {
		c.wire.conn = tls.Server(nc, srv.cfg.TLS)
	}
	c.peer.Peer = accept.NewPeer(nc)
	c.log = c.peer.Log(srv.cfg.Log, srv.kind.String())
	c.anonymous = c.log
	c.session = &session{srv: srv, peer: &c.peer, log: c.log}
	return c
}

// admit counts a new connection, or returns the reason to refuse it.
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

// countedAddr returns the address that the connection counts for: none for LMTP, whose relays
// may use all connections.
func (c *conn) countedAddr() netip.Addr {
	if c.srv.kind == LMTP {
		return netip.Addr{}
	}
	return c.peer.Addr
}

// leave undoes admit.
func (srv *Server) leave(c *conn) {
	srv.cfg.Connections.Leave(srv.kind.String(), c.countedAddr())
	c.releaseLogin()
	srv.conns.Leave(c)
}
