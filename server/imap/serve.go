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

// serve runs the session to its end. It calls begun before it first waits for the
// client, which for a connection with implicit TLS is before the handshake.
func (s *session) serve(begun func()) {
	defer s.recovered()
	s.log.Debug("connected", "tls", s.tls)
	if s.tls {
		begun()
	}
	err := s.handshake()
	if err == nil {
		s.w.untagged("OK", "CAPABILITY"+s.capabilityList(), "maildird ready.")
		_ = s.w.Flush() // sticky: commands returns it
		begun()
		err = s.commands()
	}
	s.end(err)
}

// recovered ends a session after a panic outside of a command. Other sessions are not
// affected.
func (s *session) recovered() {
	p := recover()
	if p == nil {
		return
	}
	s.panicked(p)
	defer func() {
		// The state of the session may be broken as well.
		if p := recover(); p != nil {
			s.log.Error("panic at the end of a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.wire.Cut()
		}
	}()
	if conn, ok := s.wire.Stream.(*tls.Conn); ok && !conn.ConnectionState().HandshakeComplete {
		s.wire.Cut() // a BYE would begin another handshake
	}
	s.end(bye(imap.ResponseCodeServerBug, "Internal error; see the server log."))
}

// handshake performs the TLS handshake of a connection with implicit TLS.
func (s *session) handshake() error {
	conn, ok := s.wire.Stream.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.srv.sessions.Stop(), s.srv.cfg.Timeouts.Login)
	defer cancel()
	return s.shakeHands(ctx, conn)
}

// shakeHands performs a TLS handshake. A failure is logged because the usual cause is
// the certificate, which the operator must know about. The log is limited, so that port
// scanners cannot fill it.
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

// commands reads and serves commands until the connection ends.
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
			return s.cause(err)
		}
		if s.srv.sessions.Stopping() {
			return errStopping()
		}
	}
}

// cause returns why a command was cut short: a revocation or a shutdown makes reading time out,
// and the end of a shutdown cancels the command and closes the connection.
func (s *session) cause(err error) error {
	woken := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case woken && s.granted.Revoked():
		return errRevoked()
	case (woken || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)) && s.srv.sessions.Stopping():
		return errStopping()
	}
	return err
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

// tellUnasked sends, between two commands, the notifications that NOTIFY asked for.
func (s *session) tellUnasked() error {
	s.done = done{asked: true, mayLoseSelected: s.left()}
	n := noExpunges
	if s.notify.selected.kind == filterSelected {
		n = allNews
	}
	return s.tellNow(n)
}

// tellNow writes and flushes what is new. Anything that changes meanwhile wakes the
// session again.
func (s *session) tellNow(n news) error {
	s.wire.Forget(wire.NewsMailbox | wire.NewsOthers)
	if err := s.tellNews(n); err != nil {
		return err
	}
	if code := s.correctModSeq(); code != "" {
		s.w.untagged("OK", code, "Highest mod-sequence.")
	}
	if err := s.w.Flush(); err != nil {
		return &connError{err}
	}
	return nil
}

// await waits for input. It returns an error if one of the given reasons, the deadline,
// a revocation or a shutdown comes first.
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

// continueLiteral asks the client to send a literal.
func (s *session) continueLiteral() { s.w.Raw("+ OK\r\n") }

// end tells the client why the session ends, and closes the connection. err is nil
// after LOGOUT.
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

// goodbye releases what the session holds and tells the client why it ends, unless the
// client asked for it or is gone.
func (s *session) goodbye(err error) (said bool) {
	var status *imap.Error
	s.w.StartLine()
	switch {
	case err == nil:
	case errors.As(err, &status):
		s.w.untagged("BYE", string(status.Code), status.Text)
		said = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.w.untagged("BYE", "", "Disconnected for inactivity.")
	}
	s.leave()
	return s.w.Flush() == nil && said
}

// leave releases everything that belongs to a login.
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
	}
	return accept.Reason(err)
}

// refuse tells the client why the connection is not served, and closes it.
func (s *session) refuse(why error) {
	s.wire.WriteTimeout = 5 * time.Second
	s.goodbye(why)
	s.wire.Close()
	s.log.Debug("disconnected", "reason", reason(why))
}

// Read implements io.Reader for the lexer inside a command. It first flushes the
// output, which the client may be waiting for. All its errors are a *connError.
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
