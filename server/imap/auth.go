package imap

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"maildird/auth"
)

// passwordsAllowed tells whether the client may send a password as it is: over
// TLS, a Unix socket, or from where the operator trusts the network.
func (s *session) passwordsAllowed() bool {
	if s.tls || !s.remote.IsValid() {
		return true
	}
	for _, p := range s.srv.cfg.PlaintextFrom {
		if p.Contains(s.remote.Addr()) {
			return true
		}
	}
	return false
}

func errPrivacy() error {
	return no(imap.ResponseCodePrivacyRequired, "Passwords are taken over TLS only, use STARTTLS.")
}

// errLogin is the answer to every login that failed, whatever the reason.
func errLogin() error {
	return no(imap.ResponseCodeAuthenticationFailed, "Authentication failed.")
}

// runLogin is LOGIN (RFC 9051 section 6.2.3).
func runLogin(s *session) error {
	lx := s.lx
	lx.sp()
	name := string(lx.astring())
	lx.sp()
	password := string(lx.astring())
	if err := lx.end(); err != nil {
		return err
	}
	if !s.passwordsAllowed() {
		return errPrivacy()
	}
	user, err := s.checkPassword("LOGIN", name, password)
	if err != nil {
		return err
	}
	return s.login(user)
}

// mechanism is a SASL mechanism of AUTHENTICATE.
type mechanism struct {
	name string
	// plaintext says that it shows the password to whoever reads along.
	plaintext bool
	// server begins an exchange. It calls login with the user it proved.
	server func(s *session, login func(auth.User)) sasl.Server
}

// mechanisms are those that are announced, in this order.
func mechanisms() []mechanism {
	return []mechanism{
		{name: sasl.Plain, plaintext: true, server: plainServer},
	}
}

func plainServer(s *session, login func(auth.User)) sasl.Server {
	return sasl.NewPlainServer(func(identity, name, password string) error {
		if identity != "" && !strings.EqualFold(identity, name) {
			return no(imap.ResponseCodeAuthorizationFailed, "Acting for another user is not possible.")
		}
		user, err := s.checkPassword(sasl.Plain, name, password)
		if err == nil {
			login(user)
		}
		return err
	})
}

// runAuthenticate is AUTHENTICATE (RFC 9051 section 6.2.2).
func runAuthenticate(s *session) error {
	lx := s.lx
	lx.sp()
	name := string(lx.word())
	var response []byte
	if lx.more() {
		response = decodeResponse(lx, lx.atom())
	}
	if err := lx.end(); err != nil {
		return err
	}
	for _, m := range mechanisms() {
		if m.name != name {
			continue
		}
		if m.plaintext && !s.passwordsAllowed() {
			return errPrivacy()
		}
		return s.authenticate(m, response)
	}
	return no(imap.ResponseCodeCannot, "Unknown authentication mechanism.")
}

// authenticate runs the exchange of a mechanism; response is the initial one,
// nil for none.
func (s *session) authenticate(m mechanism, response []byte) error {
	var user auth.User
	proved := false
	server := m.server(s, func(u auth.User) { user, proved = u, true })
	for {
		challenge, done, err := server.Next(response)
		var status *imap.Error
		switch {
		case errors.As(err, &status):
			return status
		case err != nil:
			return bad("Not a proper response for this mechanism.")
		case done && !proved:
			return errLogin()
		case done && len(challenge) == 0:
			return s.login(user)
		}
		if response, err = s.challenge(challenge); err != nil {
			return err
		}
		if done {
			return s.login(user) // the response to a last message is empty
		}
	}
}

// challenge sends a challenge and takes the response to it.
func (s *session) challenge(challenge []byte) ([]byte, error) {
	s.w.raw("+ ")
	s.w.raw(base64.StdEncoding.EncodeToString(challenge))
	s.w.crlf()
	lx := s.lx
	lx.next()
	if lx.accept('*') {
		if err := lx.end(); err != nil {
			return nil, err
		}
		return nil, bad("Authentication was cancelled.")
	}
	response := decodeResponse(lx, lx.run(classAtom))
	return response, lx.end()
}

// decodeResponse decodes base64; "=" is the initial response without octets.
// It is never nil but after an error.
func decodeResponse(lx *lexer, b []byte) []byte {
	if lx.err != nil {
		return nil
	}
	if string(b) == "=" {
		return []byte{}
	}
	response, err := base64.StdEncoding.AppendDecode([]byte{}, b)
	if err != nil {
		lx.fail("Response is not valid base64.")
		return nil
	}
	return response
}

// checkPassword asks who a name and a password belong to. Failures are counted
// and logged with the peer's address, for programs that block such addresses.
func (s *session) checkPassword(method, name, password string) (auth.User, error) {
	user, err := s.srv.cfg.Auth.Authenticate(s.ctx, name, password)
	if err == nil {
		return user, nil
	}
	if s.ctx.Err() != nil {
		return auth.User{}, &connError{s.ctx.Err()}
	}
	s.fails++
	s.log.Warn("login failed", "protocol", "imap", "method", method, "user", name, "error", err)
	return auth.User{}, errLogin()
}

// login makes the session that of a user who proved who he is.
func (s *session) login(user auth.User) error {
	if !s.srv.admitUser(user.Name) {
		s.log.Warn("login refused: too many connections of this user", "user", user.Name)
		return no(imap.ResponseCodeLimit, "Too many connections of this user.")
	}
	account, err := s.srv.cfg.OpenAccount(s.ctx, user)
	if err != nil {
		s.srv.leaveUser(user.Name)
		s.log.Error("mail of user cannot be opened", "user", user.Name, "error", err)
		return no(imap.ResponseCodeUnavailable, "Mail is not available at this time.")
	}
	s.user, s.account = user, account
	s.fails = 0
	s.log = s.anonymous.With("user", user.Name)
	s.lx.limits = s.srv.cfg.lexLimits(true)
	s.wire.until = time.Time{}
	s.log.Info("logged in", "tls", s.tls)
	s.done = done{code: "CAPABILITY" + s.capabilityList(), text: "Logged in."}
	return nil
}

// runUnauthenticate is UNAUTHENTICATE (RFC 8437): the session is as it was
// after the greeting, but for TLS.
func runUnauthenticate(s *session) error {
	if err := s.lx.end(); err != nil {
		return err
	}
	s.leave()
	s.rev2, s.utf8 = false, false
	s.lx.utf8, s.w.utf8 = false, false
	s.lx.limits = s.srv.cfg.lexLimits(false)
	s.user, s.log = auth.User{}, s.anonymous
	s.began = time.Now()
	s.wire.until = s.began.Add(s.srv.cfg.Timeouts.Login)
	s.done.code = "CAPABILITY" + s.capabilityList()
	return nil
}
