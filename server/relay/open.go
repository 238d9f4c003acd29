package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// conn is a connection to the relay. Only one goroutine at a time may use it, except for cut.
type conn struct {
	socket net.Conn // the dialled connection; closing it ends everything
	wire   net.Conn // socket, or TLS on top of it
	in     *bufio.Reader
	offers offers
}

// offers are the announced extensions, as far as they are used.
type offers struct {
	startTLS, eightBit, utf8, size bool
	login                          []string // mechanisms
}

// open connects and logs in, within Timeouts.Open and until ctx ends.
func (r *Relay) open(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeouts.Open)
	defer cancel()
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.cfg.Address)
	if err != nil {
		return nil, err
	}
	c := &conn{socket: socket, wire: socket, in: newReader(socket)}
	ended := context.AfterFunc(ctx, c.cut)
	err = r.begin(ctx, c)
	if !ended() && ctx.Err() != nil {
		err = fmt.Errorf("no response in time: %w", context.Cause(ctx))
	}
	if err != nil {
		c.cut()
		return nil, err
	}
	return c, nil
}

// begin reads the greeting, and does everything that precedes MAIL.
func (r *Relay) begin(ctx context.Context, c *conn) error {
	if peer, ok := c.socket.RemoteAddr().(*net.TCPAddr); r.local && (!ok || !peer.IP.IsLoopback()) {
		return fmt.Errorf("%s is not an address of this machine", c.socket.RemoteAddr())
	}
	if r.cfg.TLS {
		if err := r.handshake(ctx, c); err != nil {
			return err
		}
	}
	switch greeting, err := c.reply(); {
	case err != nil:
		return err
	case greeting.code != 220:
		return unexpected("greets", greeting)
	case r.cfg.Greeting != "" && strings.HasPrefix(greeting.text(), r.cfg.Greeting):
		return ErrSelf
	}
	if err := r.hello(c); err != nil {
		return err
	}
	switch {
	case r.cfg.TLS:
	case c.offers.startTLS:
		if err := r.startTLS(ctx, c); err != nil {
			return err
		}
	case !r.local: // or an attacker has removed it
		return ErrNoTLS
	}
	if r.cfg.User == "" {
		return nil
	}
	return r.login(c)
}

// hello sends EHLO, or HELO to a server that does not know EHLO.
func (r *Relay) hello(c *conn) error {
	c.offers = offers{}
	said, err := c.command("EHLO " + r.cfg.Hostname)
	if err != nil {
		return err
	}
	if said.code == 500 || said.code == 502 {
		if said, err = c.command("HELO " + r.cfg.Hostname); err != nil {
			return err
		}
		said.lines = said.lines[:1]
	}
	if said.code != 250 {
		return unexpected("answers EHLO", said)
	}
	for _, line := range said.lines[1:] {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "STARTTLS":
			c.offers.startTLS = true
		case "8BITMIME":
			c.offers.eightBit = true
		case "SMTPUTF8":
			c.offers.utf8 = true
		case "SIZE":
			c.offers.size = true
		case "AUTH":
			c.offers.login = words[1:]
		}
	}
	return nil
}

// startTLS sends STARTTLS (RFC 3207), after which the session starts over.
func (r *Relay) startTLS(ctx context.Context, c *conn) error {
	said, err := c.command("STARTTLS")
	switch {
	case err != nil:
		return err
	case said.code != 220 && r.local: // TLS is optional here
		return nil
	case said.code != 220:
		return unexpected("answers STARTTLS", said)
	case c.in.Buffered() > 0:
		// An attacker may have injected it (CVE-2011-0411 and similar).
		return fmt.Errorf("%w: it sent more before TLS began", ErrProtocol)
	}
	if err := r.handshake(ctx, c); err != nil {
		return err
	}
	return r.hello(c)
}

// handshake begins TLS. It does not verify the certificate of a relay on this machine, whose
// identity is not in doubt.
func (r *Relay) handshake(ctx context.Context, c *conn) error {
	host, _, err := net.SplitHostPort(r.cfg.Address)
	if err != nil {
		return err
	}
	t := tls.Client(c.socket, &tls.Config{
		ServerName: host, RootCAs: r.cfg.Roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.local,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.wire = t
	c.in.Reset(t)
	return nil
}

// login logs in with AUTH (RFC 4954) PLAIN or, if that is not offered, LOGIN.
func (r *Relay) login(c *conn) error {
	var steps []string
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, mechanism := range c.offers.login {
		if mechanism == "PLAIN" {
			steps = []string{"AUTH PLAIN " + encode("\x00"+r.cfg.User+"\x00"+r.cfg.Password)}
			break
		}
		if mechanism == "LOGIN" {
			steps = []string{"AUTH LOGIN", encode(r.cfg.User), encode(r.cfg.Password)}
		}
	}
	if steps == nil {
		return fmt.Errorf("%w: it offers neither AUTH PLAIN nor LOGIN", ErrLogin)
	}
	for i, step := range steps {
		said, err := c.command(step)
		switch last := i == len(steps)-1; {
		case err != nil:
			return err
		case said.code == 235 && last, said.code == 334 && !last:
		case said.code/100 == 4:
			return unexpected("answers AUTH", said)
		default:
			return fmt.Errorf("%w as %s: %v", ErrLogin, r.cfg.User, said)
		}
	}
	return nil
}

// unexpected returns the error for a reply after which the connection cannot be used.
func unexpected(what string, r reply) error {
	if r.code/100 == 4 {
		return fmt.Errorf("%w: it %s with %v", ErrForNow, what, r)
	}
	return fmt.Errorf("it %s with %v", what, r)
}

// command sends a line and reads the reply, whatever it is.
func (c *conn) command(line string) (reply, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return reply{}, errors.New("a command has more than one line")
	}
	if err := c.unasked(); err != nil {
		return reply{}, err
	}
	if _, err := c.wire.Write([]byte(line + "\r\n")); err != nil {
		return reply{}, err
	}
	return c.reply()
}

// unasked returns an error if the relay has sent more than it was asked for, which would be taken
// for the reply to what comes next: a message could be acknowledged that it then refuses.
func (c *conn) unasked() error {
	if c.in.Buffered() == 0 {
		return nil
	}
	r, err := c.reply()
	switch {
	case err != nil:
		return err
	case r.code == 421:
		return r.refusal()
	}
	return fmt.Errorf("%w: it sends without being asked: %v", ErrProtocol, r)
}

// quit sends QUIT and closes the connection. It does not wait for the reply, on
// which nothing depends.
func (c *conn) quit() {
	_ = c.wire.SetDeadline(time.Now().Add(farewell))
	_, _ = c.wire.Write([]byte("QUIT\r\n"))
	_ = c.wire.Close()
}

// farewell is how long a QUIT may take.
const farewell = 5 * time.Second

// cut closes the connection at once. Any goroutine may call it.
func (c *conn) cut() { _ = c.socket.Close() }
