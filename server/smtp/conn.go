package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"maildird/server/accept"
	"maildird/server/login"
)

// conn is one connection. Its goroutine owns all of it but what mu guards.
type conn struct {
	srv    *Server
	socket net.Conn // as accepted
	wire   wire
	log    *slog.Logger
	// anonymous is log without the user's name.
	anonymous *slog.Logger
	began     time.Time
	begun     func() // to be called before it waits for its client first

	peer    peer
	session *session
	message *message
	chunks  *decoder // of a message that comes in BDAT chunks
	hasty   bool     // the input at hand came before an answer it should have waited for

	bad           int // commands answered by 5xx, other than RCPT
	badRecipients int
	authFails     int

	granted login.Granted

	mu        sync.Mutex
	waiting   bool // for a command: Shutdown ends that, and Recheck
	receiving bool // for more of a message: Recheck ends that
}

// peer is what is known about the other side.
type peer struct {
	accept.Peer
	hello string // what it calls itself
	esmtp bool   // it said EHLO or LHLO, not HELO
	tls   *tls.ConnectionState
}

// goodbye is a reply after which the connection ends.
type goodbye struct{ *smtp.SMTPError }

func lastReply(code int, enhanced code3, format string, args ...any) error {
	return goodbye{refusal(code, enhanced, format, args...)}
}

func errStopping() error {
	return lastReply(421, code3{4, 3, 2}, "Server is shutting down, try again later")
}

// errQuit ends a connection that was answered already.
var errQuit = errors.New("quit")

// serve runs the connection until its end.
func (c *conn) serve() {
	defer func() { c.session.relaying.close() }()
	defer c.recovered()
	c.log.Debug("connected", "tls", c.wire.conn != c.socket)
	err := c.talk()
	c.giveUp(err)
	c.end(err)
}

// giveUp gives up a message that is still coming in when the connection ends, and
// says so in the log: its sender may ask where it is.
func (c *conn) giveUp(err error) {
	defer c.abort()
	switch m := c.message; {
	case m == nil || m.spool == nil && m.relaying == nil && m.refused == nil:
	case m.refused != nil:
		m.logRefused()
	default:
		if errors.Is(err, net.ErrClosed) && c.srv.conns.Stopping() {
			err = errStopping()
		}
		c.log.Info("message interrupted", "id", m.id, "from", c.session.sender(), "to", c.session.recipientList(),
			"size", m.size(), "reason", reason(err))
	}
}

// abort gives up a message that is coming in.
func (c *conn) abort() {
	if c.message != nil {
		c.message.abort()
		c.message = nil
	}
}

// recovered ends a connection whose code went wrong; the others go on.
func (c *conn) recovered() {
	p := recover()
	if p == nil {
		return
	}
	c.srv.panics.Add(1)
	c.log.Error("panic in a session, which is ended", "panic", p, "stack", string(debug.Stack()))
	defer func() {
		// What is left of the session may be broken too.
		if p := recover(); p != nil {
			c.log.Error("panic at the end of a session", "panic", p, "stack", string(debug.Stack()))
			_ = c.socket.Close()
		}
	}()
	c.abort()
	c.end(lastReply(421, code3{4, 3, 0}, "Internal error, try again later"))
}

func (c *conn) talk() error {
	if conn, ok := c.wire.conn.(*tls.Conn); ok {
		c.begun()
		if err := c.handshake(conn); err != nil {
			return err
		}
	}
	if err := c.greet(); err != nil {
		return err
	}
	for {
		if err := c.command(); err != nil {
			return err
		}
	}
}

// greet sends the greeting. A client of an MX server that speaks before it is
// sent away: it does not listen.
func (c *conn) greet() error {
	if wait := c.srv.cfg.Timeouts.Greet; wait > 0 && c.srv.kind == MX {
		c.begun()
		err := c.await(time.Now().Add(wait), func() error { return c.wire.more(smallBuffer) })
		switch {
		case err == nil:
			c.log.Warn("client spoke before the greeting")
			return lastReply(554, code3{5, 5, 0}, "Client must wait for the greeting")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
	c.reply(220, smtp.NoEnhancedCode, Greeting(c.srv.kind, c.srv.cfg.Hostname))
	err := c.wire.flush()
	c.begun()
	return err
}

// command takes one command and answers it.
func (c *conn) command() error {
	c.hasty = c.hasty && len(c.wire.unread()) > 0
	if c.granted.Revoked() {
		return errRevoked()
	}
	line, err := c.line()
	if errors.Is(err, errLongLine) {
		return c.refuse(refusal(500, code3{5, 5, 2}, "Line too long"))
	}
	if err != nil {
		return err
	}
	name, arg, _ := strings.Cut(line, " ")
	name = upper(name)
	v, ok := c.srv.verbs[name]
	switch {
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return c.refuse(refusal(500, code3{5, 5, 2}, "Command contains control characters"))
	case !ok && foreign[name]:
		return lastReply(421, code3{4, 7, 0}, "This server does not speak that protocol")
	case !ok:
		return c.refuse(refusal(500, code3{5, 5, 2}, "Command not recognized"))
	case c.hasty && !v.idle:
		return c.outOfStep()
	}
	if v.alone || c.peer.hello != "" && !c.peer.esmtp {
		// RFC 2920 section 3.1: this is the last of a group. What follows may be
		// somebody else's, put there on the way, and must not begin anything.
		c.hasty = c.hasty || len(c.wire.unread()) > 0
	}
	if err = v.run(c, arg); err == nil {
		return nil
	}
	var r *smtp.SMTPError
	if errors.As(err, &r) {
		return c.refuse(r)
	}
	return err
}

func (c *conn) outOfStep() error {
	c.log.Warn("client sent more before it had the reply")
	return lastReply(503, code3{5, 5, 0}, "Wait for the reply before sending more")
}

// refuse answers a command by an error, slowly if there were many.
func (c *conn) refuse(r *smtp.SMTPError) error {
	if r.Code >= 500 && r != errNobody {
		c.bad++
	}
	return c.refused(r)
}

// refused sends the reply, after a pause if there were many; too many end the
// connection. Not with LMTP: the relay there keeps a connection for all its mail, is
// refused what others ask of it, and sends DATA along with a recipient (RFC 2920), so
// that each refused one counts twice.
func (c *conn) refused(r *smtp.SMTPError) error {
	if c.srv.kind == LMTP {
		c.replyTo(r)
		return nil
	}
	c.tarpit()
	c.replyTo(r)
	if c.bad >= badCommands || c.badRecipients >= c.srv.cfg.Limits.BadRecipients {
		c.log.Warn("too many errors", "commands", c.bad, "recipients", c.badRecipients)
		return lastReply(421, code3{4, 7, 0}, "Too many errors")
	}
	return nil
}

// tarpit makes a client wait that gets many errors.
func (c *conn) tarpit() {
	const patience = 4 // errors that are answered at once
	n := c.bad + c.badRecipients/4 - patience
	if n <= 0 {
		return
	}
	pause := time.NewTimer(min(100*time.Millisecond<<min(n, 16), c.srv.cfg.Timeouts.Tarpit))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.srv.conns.Stop().Done():
	}
}

// line waits for a command and returns it without its line end.
func (c *conn) line() (string, error) { return c.lineWithin(lineLimit) }

// responseLine waits for a response of an AUTH exchange.
func (c *conn) responseLine() (string, error) {
	return c.lineWithin(func([]byte) int { return maxAuthLine })
}

func (c *conn) lineWithin(limit func([]byte) int) (string, error) {
	var line []byte
	take := func() (err error) {
		line, err = c.wire.line(limit)
		return err
	}
	var err error
	if bytes.IndexByte(c.wire.unread(), '\n') >= 0 {
		err = take()
	} else {
		now := time.Now()
		deadline := now.Add(c.srv.cfg.Timeouts.Command)
		if end := c.began.Add(c.srv.cfg.Timeouts.Session); end.Before(deadline) {
			deadline = end
		}
		err = c.await(deadline, take)
	}
	if err != nil {
		return "", err
	}
	line = line[:len(line)-1]
	text, crlf := bytes.CutSuffix(line, []byte{'\r'})
	if c.srv.cfg.BareNewline == Reject && (!crlf || bytes.IndexByte(text, '\r') >= 0) {
		return "", errBare()
	}
	return string(text), nil
}

func errBare() error {
	return lastReply(550, code3{5, 5, 2}, "Lines must end in CR LF, a bare CR or LF is not allowed")
}

// lineLimit is how long a line may be.
func lineLimit(line []byte) int {
	if len(line) >= 5 && strings.EqualFold(string(line[:5]), "AUTH ") {
		return maxAuthLine
	}
	return maxCommand
}

// await lets take wait for the client until the deadline, or until Shutdown.
func (c *conn) await(deadline time.Time, take func() error) error {
	c.mu.Lock()
	// Under the mutex, so that it cannot undo what wake does.
	err := c.wire.conn.SetReadDeadline(deadline)
	c.waiting = true
	c.mu.Unlock()
	switch {
	case c.srv.conns.Stopping():
		err = errStopping()
	case c.granted.Revoked():
		err = errRevoked()
	}
	if err == nil {
		err = take()
	}
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
	if err != nil && c.granted.Revoked() {
		return errRevoked()
	}
	if err != nil && c.srv.conns.Stopping() {
		return errStopping()
	}
	return err
}

var longAgo = time.Unix(1, 0)

// Wake implements accept.Conn: it ends the waiting for a command. Any goroutine
// may call it.
func (c *conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		_ = c.wire.conn.SetReadDeadline(longAgo)
	}
}

func (c *conn) reply(code int, enhanced code3, lines ...string) {
	c.wire.write(appendReply(c.wire.out, code, enhanced, lines...))
}

func (c *conn) replyTo(r *smtp.SMTPError) { c.reply(r.Code, r.EnhancedCode, r.Message) }

// end says goodbye for the reason err and closes.
func (c *conn) end(err error) {
	if c.granted.Revoked() {
		c.log.Info("login revoked")
	}
	if c.session.user != nil {
		c.log.Info("logged out", "reason", reason(err))
	} else {
		c.log.Debug("disconnected", "reason", reason(err))
	}
	var last goodbye
	rude := false // the client may still be sending
	switch {
	case errors.As(err, &last):
		c.replyTo(last.SMTPError)
		rude = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reply(421, code3{4, 4, 2}, "Timeout waiting for a command")
	}
	if c.wire.flush() == nil && rude {
		accept.Linger(c.wire.conn, c.socket)
	}
	_ = c.wire.conn.Close()
}

func reason(err error) string {
	var last goodbye
	switch {
	case errors.As(err, &last):
		return last.Message
	case errors.Is(err, errQuit):
		return "quit"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed" // with TLS, without a word of that
	}
	return err.Error()
}

// handshake does a TLS handshake.
func (c *conn) handshake(conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(c.srv.conns.Stop(), c.srv.cfg.Timeouts.TLS)
	defer cancel()
	// The deadline of the last command would end it.
	if err := c.socket.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := accept.Handshake(ctx, conn); err != nil {
		// Who tries all ports does not fill the log.
		how := c.srv.kind.String() + " STARTTLS"
		if c.wire.conn == conn {
			how = c.srv.kind.String() + " TLS"
		}
		if !c.srv.conns.Stopping() && c.srv.cfg.Connections.Tell(how, c.countedAddr(), time.Now()) {
			c.log.Info("TLS handshake failed", "error", err, "more", "not logged again for a minute")
		}
		return io.EOF
	}
	state := conn.ConnectionState()
	c.peer.tls = &state
	return nil
}
