package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"maildird/auth"
	"maildird/server/login"
	"maildird/server/sasl"
)

func (c *conn) passwordsAllowed() bool {
	return login.PasswordsAllowed(c.peer.tls != nil, c.peer.Addr, c.srv.cfg.PlaintextFrom)
}

// checkMaySend returns an error for submission without login (RFC 6409 section 4.3).
func (c *conn) checkMaySend() error {
	switch {
	case c.srv.kind != Submission, c.session.user != nil:
		return nil
	case !c.passwordsAllowed():
		return refusal(530, code3{5, 7, 0}, "Must issue a STARTTLS command first")
	}
	return refusal(530, code3{5, 7, 0}, "Authentication required")
}

// runAuth is AUTH (RFC 4954). After too many failed logins it ends the connection, however the
// client took part in the last one: it may cancel an exchange that has already failed.
func runAuth(c *conn, arg string) error {
	err := c.authenticate(arg)
	var r *smtp.SMTPError
	if c.failedLogins < maxFailedLogins || !errors.As(err, &r) {
		return err
	}
	c.replyTo(r)
	return lastReply(421, code3{4, 7, 0}, "Too many failed logins")
}

func (c *conn) authenticate(arg string) error {
	words := strings.Fields(arg)
	switch {
	case c.peer.hello == "":
		return refusal(503, code3{5, 5, 1}, "Send EHLO first")
	case c.session.user != nil:
		return refusal(503, code3{5, 5, 1}, "Already authenticated")
	case c.session.from != nil:
		return refusal(503, code3{5, 5, 1}, "Not allowed during a mail transaction")
	case len(words) == 0 || len(words) > 2:
		return refusal(501, code3{5, 5, 4}, "Syntax: AUTH mechanism [initial response]")
	case !c.passwordsAllowed():
		c.log.Info("login refused", "error", "passwords are accepted over TLS only")
		return refusal(538, code3{5, 7, 11}, "Passwords are accepted over TLS only, use STARTTLS")
	}
	mechanism := upper(words[0])
	var response []byte
	if len(words) == 2 {
		var err error // for an unknown mechanism, that is the answer
		if response, err = decodeResponse(words[1]); err != nil && slices.Contains(c.srv.cfg.Logins.Mechanisms(c.peer.tls, true), mechanism) {
			return err
		}
	}
	user, err := c.srv.cfg.Logins.Login(mechanism, response, sasl.Peer{
		Ctx: c.srv.conns.Stop(), From: c.peer.Addr, TLS: c.peer.tls, Plaintext: true, Refused: c.refusedLogin,
	}, c.challenge)
	switch {
	case errors.Is(err, sasl.ErrUnknown):
		return refusal(504, code3{5, 5, 4}, "Unknown authentication mechanism")
	case errors.Is(err, sasl.ErrMalformed):
		return refusal(501, code3{5, 5, 2}, "Malformed response for this mechanism")
	case err != nil:
		return err
	}
	return c.loggedIn(user)
}

// decodeResponse decodes base64. "=" is an empty initial response.
func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(s))
	if err != nil {
		return nil, refusal(501, code3{5, 5, 2}, "Response is not valid base64")
	}
	return b, nil
}

// challenge sends a challenge and returns the response of the client.
func (c *conn) challenge(challenge []byte) ([]byte, error) {
	// It may be longer than other replies (RFC 4954 section 4).
	c.wire.write(append(base64.StdEncoding.AppendEncode(append(c.wire.out, "334 "...), challenge), "\r\n"...))
	line, err := c.responseLine()
	switch {
	case errors.Is(err, errLongLine):
		return nil, refusal(500, code3{5, 5, 6}, "Response is too long")
	case err != nil:
		return nil, err
	case line == "*":
		return nil, refusal(501, code3{5, 7, 0}, "Authentication was cancelled")
	}
	return decodeResponse(line)
}

// refusedLogin counts and logs a failed login, and returns the reply to it.
func (c *conn) refusedLogin(method, name string, err error) error {
	if c.srv.conns.Stopping() && errors.Is(err, context.Canceled) {
		return refusal(454, code3{4, 3, 2}, "Server is shutting down")
	}
	why := login.Refused(c.log, method, name, err)
	if why.Counts() {
		c.failedLogins++
	}
	switch why {
	case login.OtherUser:
		return refusal(535, code3{5, 7, 8}, "Acting for another user is not supported")
	case login.Throttled:
		return refusal(454, code3{4, 7, 0}, "Too many failed logins, try again later")
	case login.Unavailable:
		return refusal(454, code3{4, 7, 0}, "Temporary authentication failure, try again later")
	}
	return refusal(535, code3{5, 7, 8}, "Authentication failed")
}

// loggedIn continues the session as a user whose identity was proved.
func (c *conn) loggedIn(user auth.User) error {
	if err := c.srv.cfg.Connections.AdmitUser(user.Name); err != nil {
		c.log.Warn("login refused", "user", user.Name, "error", err)
		return refusal(454, code3{4, 7, 0}, "Too many connections for this user, try again later")
	}
	c.grant(&user)
	c.bad, c.failedLogins = 0, 0
	c.log = c.log.With("user", user.Name)
	c.session.log = c.log
	c.log.Info("logged in", "tls", c.peer.tls != nil)
	c.recheck() // the password may have changed since it was checked
	c.reply(235, code3{2, 7, 0}, "Authentication succeeded")
	return nil
}

// logOut ends the login, if any, and removes the user name from the log.
func (c *conn) logOut() {
	c.releaseLogin()
	c.log = c.anonymous
	c.session.log = c.log
}

// releaseLogin releases what belongs to a login.
func (c *conn) releaseLogin() {
	if u := c.session.user; u != nil {
		c.grant(nil)
		c.srv.cfg.Connections.LeaveUser(u.Name)
	}
}
