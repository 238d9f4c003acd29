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

// conn is a connection. It is owned by its goroutine, except for the fields that mu guards.
type conn struct {
	srv  *Server
	wire wire
	log  *slog.Logger
	// anonymous is log without the user name.
	anonymous *slog.Logger
	began     time.Time
	begun     func() // must be called before the connection first waits for its client

	peer    peer
	session *session
	message *message
	chunks  *decoder // set while a message arrives in BDAT chunks
	hasty   bool     // the pending input was sent before a reply that the client should have waited for
	grouped bool     // the reply to the last command may wait; see verb

	bad           int // commands with a 5xx reply, other than RCPT, and vain ones above maxVain
	badRecipients int
	vain          int // see inVain
	deferred      int // recipients that were refused for now since the last message was accepted
	failedLogins  int

	granted login.Granted

	mu        sync.Mutex
	waiting   bool // for a command: Shutdown and Recheck interrupt it
	receiving bool // more of a message: Recheck interrupts it
}

// peer is what is known about the client.
type peer struct {
	accept.Peer
	hello string // the name in HELO, EHLO or LHLO; "" before
	esmtp bool   // the client sent EHLO or LHLO, not HELO
	tls   *tls.ConnectionState
}

// goodbye is a reply that ends the connection.
type goodbye struct{ *smtp.SMTPError }

func lastReply(code int, enhanced code3, format string, args ...any) error {
	return goodbye{refusal(code, enhanced, format, args...)}
}

func errStopping() error {
	return lastReply(421, code3{4, 3, 2}, "Server is shutting down, try again later")
}

// errQuit ends a connection after its reply was sent.
var errQuit = errors.New("quit")

// serve runs the connection to its end.
func (c *conn) serve() {
	defer func() { c.session.reset() }()
	defer c.recovered()
	c.log.Debug("connected", "tls", c.wire.conn != c.wire.socket)
	err := c.serveCommands()
	c.giveUp(err)
	c.end(err)
}

// giveUp drops a message that was still being received when the connection ended, and logs it,
// because its sender may ask about it.
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

// abort drops the message that is being received, if any.
func (c *conn) abort() {
	if c.message != nil {
		c.message.abort()
		c.message = nil
	}
}

// recovered ends a connection after a panic. Other connections are not affected.
func (c *conn) recovered() {
	p := recover()
	if p == nil {
		return
	}
	c.log.Error("panic in a session, which is ended", "panic", p, "stack", string(debug.Stack()))
	defer func() {
		// The state of the session may be broken as well.
		if p := recover(); p != nil {
			c.log.Error("panic at the end of a session", "panic", p, "stack", string(debug.Stack()))
			_ = c.wire.socket.Close()
		}
	}()
	c.abort()
	c.end(lastReply(421, code3{4, 3, 0}, "Internal error, try again later"))
}

func (c *conn) serveCommands() error {
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

// greet sends the greeting. A client of an MX server that sends anything before the greeting is
// disconnected, because it ignores replies.
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

// command reads a command and answers it.
func (c *conn) command() error {
	if !c.grouped {
		if err := c.wire.flush(); err != nil {
			return err
		}
	}
	c.grouped = false
	c.hasty = c.hasty && len(c.wire.unread()) > 0
	if c.granted.Revoked() {
		return errRevoked()
	}
	limit := 0
	line, err := c.lineWithin(func(line []byte) int { limit = lineLimit(line); return limit })
	switch {
	case errors.Is(err, errLongLine) && limit == maxAuthLine: // RFC 4954 section 6
		return c.refuse(refusal(500, code3{5, 5, 6}, "Response is too long"))
	case errors.Is(err, errLongLine):
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
	c.grouped = v.grouped
	if v.alone || c.peer.hello != "" && !c.peer.esmtp {
		// RFC 2920 section 3.1: this command ends a group. What follows it may have been
		// injected by an attacker, and must not begin anything.
		c.hasty = c.hasty || len(c.wire.unread()) > 0
	}
	err = v.run(c, arg)
	if err == nil && v.vain {
		return c.inVain()
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

// refuse sends an error reply and counts the error.
func (c *conn) refuse(r *smtp.SMTPError) error {
	c.replyTo(r)
	if r.Code < 500 || r == errNobody {
		return c.inVain()
	}
	c.bad++
	return c.slowDown()
}

// inVain counts a command that is no error but does not lead to a message either, like Postfix's
// smtpd_junk_command_limit. If there were many since the last message, each counts as an error:
// otherwise a client could go on for hours, with recipients that are costly to find.
func (c *conn) inVain() error {
	if c.vain++; c.vain <= maxVain {
		return nil
	}
	c.bad++
	return c.slowDown()
}

// delivered is called after a message was accepted: a client that delivers mail may make some
// errors each time.
func (c *conn) delivered() { c.bad, c.vain, c.deferred = 0, 0, 0 }

// slowDown delays the reply if there were many errors, and ends the connection if there were too
// many. It does neither for LMTP: there a relay uses one connection for all its mail, is refused
// because of what others asked it to deliver, and sends DATA together with a recipient (RFC
// 2920), so that each refused recipient would count twice.
func (c *conn) slowDown() error {
	if c.srv.kind == LMTP {
		return nil
	}
	c.tarpit()
	if c.bad >= maxBadCommands || c.badRecipients >= c.srv.cfg.Limits.BadRecipients {
		c.log.Warn("too many errors", "commands", c.bad, "recipients", c.badRecipients)
		return lastReply(421, code3{4, 7, 0}, "Too many errors")
	}
	return nil
}

// tarpit delays the reply to a client with many errors.
func (c *conn) tarpit() {
	const patience = 4 // errors that are answered without delay
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
	// The client has sent more, and would hear nothing for minutes.
	_ = c.wire.flush() // the next flush returns the error
}

// responseLine reads a response of an AUTH exchange.
func (c *conn) responseLine() (string, error) {
	return c.lineWithin(func([]byte) int { return maxAuthLine })
}

// lineWithin reads a line of limited length, see wire.line, and returns it without its line end.
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
		c.log.Warn("client sent a bare CR or LF")
		return "", goodbye{errBare()}
	}
	return string(text), nil
}

func errBare() *smtp.SMTPError {
	return refusal(550, code3{5, 5, 2}, "Lines must end in CR LF, a bare CR or LF is not allowed")
}

// lineLimit returns the maximum length of a line.
func lineLimit(line []byte) int {
	if len(line) >= 5 && strings.EqualFold(string(line[:5]), "AUTH ") {
		return maxAuthLine
	}
	return maxCommand
}

// await calls take, which waits for the client. Shutdown, Recheck and the
// deadline interrupt it.
func (c *conn) await(deadline time.Time, take func() error) error {
	c.mu.Lock()
	// Under the mutex, so that it cannot override the deadline that Wake sets.
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

// Wake implements accept.Conn. It interrupts the wait for a command. Any goroutine may call it.
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

// end sends the last reply, depending on err, and closes the connection.
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
		if last.Code != 421 { // which must be said before closing (RFC 5321 section 3.8)
			c.reply(421, code3{4, 7, 0}, "Closing connection")
		}
		rude = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reply(421, code3{4, 4, 2}, "Timeout waiting for a command")
	}
	if c.wire.flush() == nil && rude {
		accept.Linger(c.wire.conn, c.wire.socket)
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
	}
	return accept.Reason(err)
}

// handshake performs a TLS handshake.
func (c *conn) handshake(conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(c.srv.conns.Stop(), c.srv.cfg.Timeouts.TLS)
	defer cancel()
	// The deadline of the preceding command would interrupt it.
	if err := c.wire.socket.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := accept.Handshake(ctx, conn); err != nil {
		// The log is limited, so that port scanners cannot fill it.
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
