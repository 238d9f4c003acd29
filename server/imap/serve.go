package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/accept"
	"maildird/server/imap/wire"
)

// serve runs the session until its end. It calls begun before it waits for its
// client.
func (s *session) serve(begun func()) {
	defer s.recovered()
	s.log.Debug("connected", "tls", s.tls)
	if s.tls {
		begun()
	}
	err := s.handshake()
	if err == nil {
		s.writeStatus(nil, "OK", "CAPABILITY"+s.capabilityList(), "maildird ready.")
		_ = s.w.Flush() // the error sticks
		begun()
		err = s.commands()
	}
	s.end(err)
}

// recovered ends a session whose code went wrong outside of a command; the
// others go on.
func (s *session) recovered() {
	p := recover()
	if p == nil {
		return
	}
	s.panicked(p)
	defer func() {
		// What is left of the session may be broken too.
		if p := recover(); p != nil {
			s.log.Error("panic at the end of a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.wire.Cut()
		}
	}()
	if conn, ok := s.wire.Stream.(*tls.Conn); ok && !conn.ConnectionState().HandshakeComplete {
		s.wire.Cut() // to say goodbye would begin another handshake
	}
	s.end(bye(imap.ResponseCodeServerBug, "Internal error; see the server log."))
}

// handshake does the TLS handshake that an implicit-TLS connection begins with.
func (s *session) handshake() error {
	conn, ok := s.wire.Stream.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.srv.sessions.Stop(), s.srv.cfg.Timeouts.Login)
	defer cancel()
	return s.shakeHands(ctx, conn)
}

// shakeHands does a TLS handshake. That one fails is for the operator to know:
// mostly it is because of the certificate. Who tries all ports does not fill the log.
func (s *session) shakeHands(ctx context.Context, conn *tls.Conn) error {
	err := accept.Handshake(ctx, conn)
	if err == nil {
		return nil
	}
	how := service + " STARTTLS"
	if s.tls {
		how = service + " TLS"
	}
	if !s.srv.sessions.Stopping() && s.srv.cfg.Connections.Tell(how, s.peer.Addr, time.Now()) {
		s.log.Info("TLS handshake failed", "error", err, "more", "not logged again for a minute")
	}
	return &connError{err}
}

// commands takes commands until the connection ends.
func (s *session) commands() error {
	for {
		if !s.lx.Buffered() {
			if err := s.w.Flush(); err != nil {
				return &connError{err}
			}
			if err := s.awaitCommand(); err != nil {
				return err
			}
		}
		if err := s.serveCommand(); err != nil || s.logout {
			switch woken := errors.Is(err, os.ErrDeadlineExceeded); {
			case woken && s.granted.Revoked():
				return errRevoked()
			case woken && s.srv.sessions.Stopping():
				return errStopping()
			}
			return err
		}
		if s.srv.sessions.Stopping() {
			return errStopping()
		}
	}
}

func errStopping() error { return bye(imap.ResponseCodeUnavailable, "Server is shutting down.") }

// awaitCommand waits for the next command.
func (s *session) awaitCommand() error {
	deadline := time.Now().Add(s.srv.cfg.Timeouts.Idle)
	if s.state() == notAuthenticated {
		deadline = s.wire.Until
	}
	for {
		wakeOn := wire.Reasons(0)
		if s.notify != nil {
			if err := s.tellUnasked(); err != nil {
				return err
			}
			wakeOn = wire.NewsMailbox | wire.NewsOthers
		}
		if err := s.await(deadline, wakeOn); s.notify == nil || !errors.Is(err, wire.ErrWoken) {
			return err
		}
	}
}

// tellUnasked tells, between two commands, what NOTIFY asked for.
func (s *session) tellUnasked() error {
	s.done = done{}
	n := noExpunges
	if s.notify.selected.kind == filterSelected {
		n = allNews
	}
	return s.tellNow(n)
}

// tellNow tells what is new at once. What comes meanwhile wakes the session
// again.
func (s *session) tellNow(n news) error {
	s.wire.Forget(wire.NewsMailbox | wire.NewsOthers)
	if err := s.tellNews(n); err != nil {
		return err
	}
	if code := s.correctModSeq(); code != "" {
		s.writeStatus(nil, "OK", code, "Highest mod-sequence.")
	}
	if err := s.w.Flush(); err != nil {
		return &connError{err}
	}
	return nil
}

// await waits for input. When one of the reasons comes first, or the server
// ends or the time is up, the error says so.
func (s *session) await(deadline time.Time, wakeOn wire.Reasons) error {
	err := s.lx.Await(func(lend func() []byte, giveBack func()) (int, error) {
		return s.wire.Await(deadline, wakeOn|wire.NewsShutdown|wire.NewsRevoked, lend, giveBack)
	})
	switch {
	case err == nil:
		return nil
	case s.granted.Revoked():
		return errRevoked()
	case s.srv.sessions.Stopping():
		return errStopping()
	case errors.Is(err, wire.ErrWoken), errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return &connError{err}
}

// continueLiteral tells the client to send a literal.
func (s *session) continueLiteral() { s.w.Raw("+ OK\r\n") }

// end says goodbye for the reason err, nil after LOGOUT, and closes.
func (s *session) end(err error) {
	if s.granted.Revoked() {
		s.log.Info("login revoked")
	}
	if s.account != nil {
		s.log.Info("logged out", "reason", reason(err))
	} else {
		s.log.Debug("disconnected", "reason", reason(err))
	}
	if said := s.goodbye(err); said {
		accept.Linger(s.wire.Stream, s.wire.Socket) // the client may still be sending
	}
	s.wire.Close()
}

// goodbye gives back what the session has, and tells its client why it ends,
// unless that asked for it or is gone.
func (s *session) goodbye(err error) (said bool) {
	var status *imap.Error
	s.w.StartLine()
	switch {
	case err == nil:
	case errors.As(err, &status):
		s.writeStatus(nil, "BYE", string(status.Code), status.Text)
		said = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.writeStatus(nil, "BYE", "", "Disconnected for inactivity.")
	}
	s.leave()
	return s.w.Flush() == nil && said
}

// leave gives back all that a login took.
func (s *session) leave() {
	s.unselect()
	s.setNotifier(nil)
	if s.account == nil {
		return
	}
	s.granted.To(nil)
	s.account.Release()
	s.account = nil
	s.srv.cfg.Connections.LeaveUser(s.user.Name)
}

func reason(err error) string {
	var said *imap.Error
	switch {
	case errors.As(err, &said):
		return said.Text
	case err == nil:
		return "logout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed" // with TLS, without a word of that
	}
	return err.Error()
}

// refuse says why a connection is not served, and closes it.
func (s *session) refuse(why error) {
	s.wire.WriteTimeout = 5 * time.Second
	s.goodbye(why)
	s.wire.Close()
	s.log.Debug("disconnected", "reason", reason(why))
}

// Read reads inside a command, for the lexer. What the client may wait for is
// sent before. Its errors are those of the connection.
func (s *session) Read(p []byte) (n int, err error) {
	if err = s.w.Flush(); err == nil {
		if n, err = s.wire.Read(p); n == 0 && err == nil {
			err = io.ErrNoProgress
		}
	}
	if err != nil {
		err = &connError{err}
	}
	return n, err
}
