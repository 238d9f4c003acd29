package imap

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/auth"
	"maildird/maildir/dirfd"
	"maildird/server/login"
	"maildird/server/sasl"
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
	for _, name := range s.srv.cfg.Logins.Mechanisms(tlsState(s), s.passwordsAllowed()) {
		caps = append(caps, imap.Cap("AUTH="+name))
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

// errLogin is the response to a wrong user or password, and to a user who may not log in, whichever
// it was.
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
	user, err := s.srv.cfg.Logins.Password(s.saslPeer(), name, password)
	if err != nil {
		return err
	}
	return s.login(user)
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
	user, err := s.srv.cfg.Logins.Login(name, response, s.saslPeer(), s.challenge)
	switch {
	case errors.Is(err, sasl.ErrPlaintext):
		return s.withoutTLS()
	case errors.Is(err, sasl.ErrUnknown):
		return no(imap.ResponseCodeCannot, "Unknown authentication mechanism.")
	case errors.Is(err, sasl.ErrMalformed):
		return bad("Malformed response for this mechanism.")
	case err != nil:
		return err
	}
	return s.login(user)
}

// saslPeer describes the client to the mechanisms.
func (s *session) saslPeer() sasl.Peer {
	return sasl.Peer{Ctx: s.ctx, From: s.peer.Addr, TLS: tlsState(s), Plaintext: s.passwordsAllowed(), Refused: s.refusedLogin}
}

func tlsState(s *session) *tls.ConnectionState {
	conn, ok := s.wire.Stream.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
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
		return no(imap.ResponseCodeLimit, "Too many connections for this user, close others or try again later.")
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
