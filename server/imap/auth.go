package imap

import (
	"encoding/base64"
	"errors"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"maildird/auth"
	"maildird/maildir/dirfd"
	"maildird/server/login"
	own "maildird/server/sasl"
)

// authExtension is LOGIN and AUTHENTICATE.
func authExtension() extension {
	return extension{
		early: []imap.Cap{imap.CapSASLIR},
		commands: []command{
			{name: "LOGIN", in: notAuthenticated, run: runLogin},
			{name: "AUTHENTICATE", in: notAuthenticated, run: runAuthenticate},
		},
		capsOf: loginCaps,
	}
}

// loginCaps returns the capabilities that tell how a client can log in.
func loginCaps(s *session) []imap.Cap {
	if s.state() != notAuthenticated {
		return nil
	}
	var caps []imap.Cap
	for _, m := range s.srv.grammar.mechanisms {
		if m.possible(s) {
			caps = append(caps, imap.Cap("AUTH="+m.name))
		}
	}
	if !s.passwordsAllowed() {
		caps = append(caps, imap.CapLoginDisabled)
	}
	return caps
}

func (s *session) passwordsAllowed() bool {
	return login.PasswordsAllowed(s.tls, s.peer.Addr, s.srv.cfg.PlaintextFrom)
}

func errPrivacy() error {
	return no(imap.ResponseCodePrivacyRequired, "Passwords are accepted over TLS only, use STARTTLS.")
}

// errLogin is the response to every failed login, whatever the reason.
func errLogin() error {
	return no(imap.ResponseCodeAuthenticationFailed, "Authentication failed.")
}

func errOtherUser() error {
	return no(imap.ResponseCodeAuthorizationFailed, "Acting for another user is not supported.")
}

// withoutTLS refuses a password that could be intercepted. It logs only the first such attempt
// of a session, because clients may retry in a loop.
func (s *session) withoutTLS() error {
	if !s.toldTLS {
		s.toldTLS = true
		s.log.Info("login refused", "error", "passwords are accepted over TLS only", "more", "not logged for this session")
	}
	return errPrivacy()
}

// runLogin is LOGIN (RFC 9051 section 6.2.3).
func runLogin(s *session) error {
	lx := s.lx
	lx.SP()
	name := string(lx.AString())
	lx.SP()
	password := string(lx.AString())
	if err := lx.End(); err != nil {
		return err
	}
	if !s.passwordsAllowed() {
		return s.withoutTLS()
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
	// plaintext: the password can be read from the traffic.
	plaintext bool
	// ready, if not nil, reports whether the mechanism is available at this time.
	ready func(s *session) bool
	// server begins an exchange. It calls login with the user whose identity was proved.
	server func(s *session, login func(auth.User)) sasl.Server
}

// possible reports whether the session may use the mechanism in its current state.
func (m *mechanism) possible(s *session) bool {
	return (!m.plaintext || s.passwordsAllowed()) && (m.ready == nil || m.ready(s))
}

// saslExtension is the mechanisms that send the password to the server.
func saslExtension() extension {
	return extension{mechanisms: []mechanism{
		{name: sasl.Plain, plaintext: true, server: plainServer},
		{name: sasl.Login, plaintext: true, server: loginServer},
	}}
}

func plainServer(s *session, login func(auth.User)) sasl.Server {
	return sasl.NewPlainServer(func(identity, name, password string) error {
		user, err := s.checkPassword(sasl.Plain, name, password)
		switch {
		case err != nil:
			return err
		case !own.ActsAsSelf(identity, name, user):
			return s.refusedLogin(sasl.Plain, name, own.ErrOther)
		}
		login(user)
		return nil
	})
}

func loginServer(s *session, login func(auth.User)) sasl.Server {
	return own.NewLogin(func(name, password string) error {
		user, err := s.checkPassword(sasl.Login, name, password)
		if err == nil {
			login(user)
		}
		return err
	})
}

// runAuthenticate is AUTHENTICATE (RFC 9051 section 6.2.2).
func runAuthenticate(s *session) error {
	lx := s.lx
	lx.SP()
	name := string(lx.Word())
	var response []byte
	if lx.More() {
		response = decodeResponse(lx, lx.Atom())
	}
	if err := lx.End(); err != nil {
		return err
	}
	for _, m := range s.srv.grammar.mechanisms {
		switch {
		case m.name != name:
		case m.possible(s):
			return s.authenticate(m, response)
		case m.plaintext:
			return s.withoutTLS()
		}
	}
	return no(imap.ResponseCodeCannot, "Unknown authentication mechanism.")
}

// authenticate runs the exchange of a mechanism. response is the initial response, nil
// if there is none.
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
			return bad("Malformed response for this mechanism.")
		case done && !proved:
			return errLogin()
		case done && len(challenge) == 0:
			return s.login(user)
		}
		if response, err = s.challenge(challenge); err != nil {
			return err
		}
		if done {
			return s.login(user) // the response to a final challenge is empty
		}
	}
}

// challenge sends a challenge and returns the response of the client.
func (s *session) challenge(challenge []byte) ([]byte, error) {
	s.w.Raw("+ ")
	s.w.Raw(base64.StdEncoding.EncodeToString(challenge))
	s.w.CRLF()
	lx := s.lx
	lx.Next()
	if lx.Accept('*') {
		if err := lx.End(); err != nil {
			return nil, err
		}
		return nil, bad("Authentication was cancelled.")
	}
	response := decodeResponse(lx, lx.OptionalAtom())
	return response, lx.End()
}

// decodeResponse decodes base64. "=" is an empty initial response. It returns nil
// only after an error.
func decodeResponse(lx *lexer, b []byte) []byte {
	if lx.Err() != nil {
		return nil
	}
	if string(b) == "=" {
		return []byte{}
	}
	response, err := base64.StdEncoding.AppendDecode([]byte{}, b)
	if err != nil {
		lx.Fail("Response is not valid base64.")
		return nil
	}
	return response
}

// checkPassword returns the user that a name and a password belong to.
func (s *session) checkPassword(method, name, password string) (auth.User, error) {
	user, err := s.srv.cfg.Auth.Authenticate(s.ctx, s.peer.Addr, name, password)
	if err == nil {
		return user, nil
	}
	return auth.User{}, s.refusedLogin(method, name, err)
}

// refusedLogin counts and logs a failed login, and returns the response to it.
func (s *session) refusedLogin(method, name string, err error) error {
	if s.ctx.Err() != nil {
		return &connError{s.ctx.Err()}
	}
	why := login.Refused(s.log, method, name, err)
	if why.Counts() {
		s.failedLogins++
	}
	switch why {
	case login.OtherUser:
		return errOtherUser()
	case login.Throttled:
		return no(imap.ResponseCodeUnavailable, "Too many failed logins, try again later.")
	case login.Unavailable:
		return no(imap.ResponseCodeUnavailable, "Login cannot be checked at the moment, try again later.")
	}
	return errLogin()
}

// login logs in a user whose identity was proved.
func (s *session) login(user auth.User) error {
	if err := s.srv.cfg.Connections.AdmitUser(user.Name); err != nil {
		s.log.Warn("login refused", "user", user.Name, "error", err)
		return no(imap.ResponseCodeLimit, "Too many connections for this user.")
	}
	account, err := s.srv.cfg.OpenAccount(s.ctx, user)
	if err != nil {
		s.srv.cfg.Connections.LeaveUser(user.Name)
		if !errors.Is(err, dirfd.ErrNoAnswer) { // the store has logged that
			s.log.Error("mail of user cannot be opened", "user", user.Name, "error", err)
		}
		return no(imap.ResponseCodeUnavailable, "Mail is temporarily unavailable.")
	}
	s.user, s.account = user, account
	s.failedLogins = 0
	s.log = s.anonymous.With("user", user.Name)
	s.lx.Limits = s.srv.cfg.lexLimits(true)
	s.wire.Until = time.Time{}
	s.log.Info("logged in", "tls", s.tls)
	s.granted.To(&user)
	s.recheck() // the password may have changed since it was checked
	s.done = done{code: "CAPABILITY" + s.capabilityList(), text: "Logged in."}
	return nil
}
