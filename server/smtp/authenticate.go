package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"maildird/auth"
	"maildird/server/login"
	own "maildird/server/sasl"
)

func (c *conn) passwordsAllowed() bool {
	return login.PasswordsAllowed(c.peer.tls != nil, c.peer.Addr, c.srv.cfg.PlaintextFrom)
}

// checkMaySend: submission is for users who logged in (RFC 6409 section 4.3).
func (c *conn) checkMaySend() error {
	switch {
	case c.srv.kind != Submission, c.session.user != nil:
		return nil
	case !c.passwordsAllowed():
		return refusal(530, code3{5, 7, 0}, "Must issue a STARTTLS command first")
	}
	return refusal(530, code3{5, 7, 0}, "Authentication required")
}

// runAuth is AUTH (RFC 4954).
func runAuth(c *conn, arg string) error {
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
	var user auth.User
	server := c.mechanism(upper(words[0]), &user)
	if server == nil {
		return refusal(504, code3{5, 5, 4}, "Unknown authentication mechanism")
	}
	var response []byte
	if len(words) == 2 {
		var err error
		if response, err = decodeResponse(words[1]); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := server.Next(response)
		if err != nil {
			return c.authFailed(err)
		}
		if done && len(challenge) == 0 {
			return c.loggedIn(user)
		}
		if response, err = c.challenge(challenge); err != nil {
			return err
		}
		if done { // the response to a last message is empty
			return c.loggedIn(user)
		}
	}
}

// mechanism returns a server of a SASL mechanism that puts who it proved into
// user, or nil.
func (c *conn) mechanism(name string, user *auth.User) sasl.Server {
	check := func(identity, username, password string) error {
		if identity != "" && !strings.EqualFold(identity, username) {
			return refusal(535, code3{5, 7, 8}, "Acting for another user is not supported")
		}
		u, err := c.checkPassword(name, username, password)
		*user = u
		return err
	}
	if !slices.Contains(c.mechanisms(), name) {
		return nil
	}
	peer := own.Peer{Ctx: c.srv.conns.Stop(), From: c.peer.Addr, TLS: c.peer.tls, Login: func(u auth.User) { *user = u }, Refused: c.refusedLogin}
	switch name {
	case own.SCRAM, own.SCRAMPlus:
		return own.NewSCRAMLogin(c.srv.cfg.SCRAM, peer, name == own.SCRAMPlus)
	case own.OAuthBearer, own.XOAuth2:
		return own.NewTokenLogin(name, c.srv.cfg.SCRAM, c.srv.cfg.Tokens, peer)
	case sasl.Login:
		return own.NewLogin(func(username, password string) error { return check("", username, password) })
	}
	return sasl.NewPlainServer(check)
}

// mechanisms are those that the client can use as the connection stands, the
// strongest first.
func (c *conn) mechanisms() (names []string) {
	users := c.srv.cfg.SCRAM
	if users != nil && users.SCRAMReady() {
		if own.Bindable(c.peer.tls) {
			names = append(names, own.SCRAMPlus)
		}
		names = append(names, own.SCRAM)
	}
	if users != nil && c.srv.cfg.Tokens != nil {
		names = append(names, own.OAuthBearer, own.XOAuth2)
	}
	return append(names, sasl.Plain, sasl.Login)
}

// decodeResponse decodes base64; "=" is the initial response without octets.
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

// challenge sends a challenge and takes the response to it.
func (c *conn) challenge(challenge []byte) ([]byte, error) {
	c.reply(334, smtp.NoEnhancedCode, base64.StdEncoding.EncodeToString(challenge))
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

// authFailed answers an exchange that did not prove anything.
func (c *conn) authFailed(err error) error {
	r, known := refusalOf(err)
	if !known {
		return refusal(501, code3{5, 5, 2}, "Malformed response for this mechanism")
	}
	if c.authFails < authFails {
		return r
	}
	c.replyTo(r)
	return lastReply(421, code3{4, 7, 0}, "Too many failed logins")
}

// checkPassword asks who a name and a password belong to.
func (c *conn) checkPassword(method, name, password string) (auth.User, error) {
	user, err := c.srv.cfg.Auth.Authenticate(c.srv.conns.Stop(), c.peer.Addr, name, password)
	if err == nil {
		return user, nil
	}
	return auth.User{}, c.refusedLogin(method, name, err)
}

// refusedLogin counts and logs a login that failed, and returns the answer to it.
func (c *conn) refusedLogin(method, name string, err error) error {
	if c.srv.conns.Stopping() && errors.Is(err, context.Canceled) {
		return refusal(454, code3{4, 3, 2}, "Server is shutting down")
	}
	why := login.Refused(c.log, method, name, err)
	if why.Counts() {
		c.authFails++
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

// loggedIn goes on as a user who proved who he is.
func (c *conn) loggedIn(user auth.User) error {
	if err := c.srv.cfg.Connections.AdmitUser(user.Name); err != nil {
		c.log.Warn("login refused", "user", user.Name, "error", err)
		return refusal(454, code3{4, 7, 0}, "Too many connections for this user, try again later")
	}
	c.grant(&user)
	c.bad, c.authFails = 0, 0
	c.log = c.log.With("user", user.Name)
	c.session.log = c.log
	c.log.Info("logged in", "tls", c.peer.tls != nil)
	c.recheck() // the password may have changed since it was compared
	c.reply(235, code3{2, 7, 0}, "Authentication succeeded")
	return nil
}

// logOut ends the login, if there was one, and what the log says of it.
func (c *conn) logOut() {
	c.leaveUser()
	c.log = c.anonymous
	c.session.log = c.log
}

// leaveUser takes back what a login took.
func (c *conn) leaveUser() {
	if u := c.session.user; u != nil {
		c.grant(nil)
		c.srv.cfg.Connections.LeaveUser(u.Name)
	}
}
