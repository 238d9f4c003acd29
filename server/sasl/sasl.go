// Package sasl implements the mechanisms with which users log in (SASL, RFC 4422), for IMAP and
// submission alike. To add one, add it to the list mechanisms and its exchange to a file of its
// own, unless go-sasl has a server for it; both protocols then announce and accept it.
package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"maildird/auth"
)

// Logins are the ways in which the users of a server can log in.
type Logins struct {
	// Passwords checks the passwords that clients send with PLAIN and LOGIN.
	Passwords Passwords
	// Users, if not nil, lets clients prove that they know a password without sending it
	// (SCRAM).
	Users Users
	// Tokens, if not nil, lets Users log in with OAuth tokens too.
	Tokens Tokens
}

// Passwords checks a password from a client at an address, the zero one for Unix sockets.
// For an unknown user and for a wrong password it returns auth.ErrInvalid after the same time,
// and auth.ErrThrottled if logins are not checked at the moment. Other errors are temporary. It
// must be safe for concurrent use.
type Passwords interface {
	Authenticate(ctx context.Context, from netip.Addr, name, password string) (auth.User, error)
}

// Users are the users who can log in without sending a password.
type Users interface {
	// SCRAMReady reports whether every user who can log in has keys for SCRAM.
	SCRAMReady() bool
	// SCRAM returns what a proof is checked against. It must work for any name.
	SCRAM(name string) scram.StoredCredentials
	// Lookup finds a user by his full address, or by a local part that only one user
	// has. It ignores case.
	Lookup(name string) (auth.User, bool)
	// Allowed returns auth.ErrNotAllowed if a user may not log in from an address, and
	// auth.ErrNoLogin if he cannot log in at all.
	Allowed(from netip.Addr, name string) error
	// Admit returns auth.ErrThrottled if no login may be tried at the moment. Otherwise Failed
	// or Succeeded must be called next.
	Admit(from netip.Addr, name string) error
	// Failed counts a failed login. It returns when the reply may be sent, or when ctx ends.
	Failed(ctx context.Context, from netip.Addr, name string)
	// Succeeded notes a successful login.
	Succeeded(from netip.Addr, name string)
}

// Peer is a client that is logging in, as the mechanisms see it.
type Peer struct {
	Ctx  context.Context      // ends the exchange
	From netip.Addr           // zero for Unix sockets
	TLS  *tls.ConnectionState // nil without TLS
	// Plaintext: the client may send what could be used by whoever reads the traffic.
	Plaintext bool
	// Refused logs a failed login and returns the protocol's error for it. err is
	// ErrProof, ErrToken, ErrOther, auth.ErrInvalid, auth.ErrNotAllowed, auth.ErrNoLogin
	// or auth.ErrThrottled; any other error is temporary.
	Refused func(mechanism, name string, err error) error

	// login is called with the user whose identity was proved.
	login func(auth.User)
}

// Reasons why logins fail.
var (
	// ErrProof means that the client did not prove that it knows the password.
	ErrProof = errors.New("proof is wrong")
	// ErrToken means that a token is not valid, or belongs to nobody here.
	ErrToken = errors.New("token is not valid")
	// ErrOther means that the client wants to act for another user.
	ErrOther = errors.New("acting for another user is not supported")
)

// Reasons why an exchange does not begin, or ends.
var (
	ErrUnknown   = errors.New("the client cannot use this mechanism")
	ErrPlaintext = errors.New("this mechanism requires TLS")
	ErrMalformed = errors.New("the client does not speak this mechanism")
)

// mechanism is a way to log in.
type mechanism struct {
	name string
	// plaintext: whoever can read the traffic can log in too.
	plaintext bool
	// possible reports whether a client can use it at this time; nil: all can.
	possible func(*Logins, *tls.ConnectionState) bool
	begin    func(*Logins, Peer) sasl.Server
}

// mechanisms are all mechanisms, the strongest first.
var mechanisms = []mechanism{
	{name: scramPlus, possible: scramPlusPossible, begin: func(l *Logins, p Peer) sasl.Server { return newSCRAMLogin(l.Users, p, true) }},
	{name: scramName, possible: scramPossible, begin: func(l *Logins, p Peer) sasl.Server { return newSCRAMLogin(l.Users, p, false) }},
	tokenMechanism(oauthBearer),
	tokenMechanism(xoauth2),
	{name: sasl.Plain, plaintext: true, begin: func(l *Logins, p Peer) sasl.Server {
		return sasl.NewPlainServer(func(identity, name, password string) error {
			return l.password(p, sasl.Plain, identity, name, password)
		})
	}},
	{name: sasl.Login, plaintext: true, begin: func(l *Logins, p Peer) sasl.Server {
		return &loginExchange{check: func(name, password string) error {
			return l.password(p, sasl.Login, "", name, password)
		}}
	}},
}

// Mechanisms returns the names of the mechanisms that a client can use at this time, the
// strongest first. state is that of its TLS connection, nil without TLS; plaintext is that of
// Peer.
func (l *Logins) Mechanisms(state *tls.ConnectionState, plaintext bool) []string {
	var names []string
	for _, m := range mechanisms {
		if (plaintext || !m.plaintext) && (m.possible == nil || m.possible(l, state)) {
			names = append(names, m.name)
		}
	}
	return names
}

// Login lets a client log in with a mechanism, whose name is in upper case. response is its
// initial response, nil for none; challenge sends a challenge and returns the response to it. The
// error is ErrUnknown, ErrPlaintext, ErrMalformed, or that of p.Refused or challenge.
func (l *Logins) Login(mechanism string, response []byte, p Peer, challenge func([]byte) ([]byte, error)) (auth.User, error) {
	var user *auth.User
	p.login = func(u auth.User) { user = &u }
	refused := false
	refuse := p.Refused
	p.Refused = func(mechanism, name string, err error) error {
		refused = true
		return refuse(mechanism, name, err)
	}
	server, err := l.begin(mechanism, p)
	if err != nil {
		return auth.User{}, err
	}
	for done := false; !done; {
		var text []byte
		text, done, err = server.Next(response)
		switch {
		case err != nil && refused:
			return auth.User{}, err
		case err != nil:
			return auth.User{}, ErrMalformed
		case done && len(text) == 0:
		default: // the response to a final challenge is empty
			if response, err = challenge(text); err != nil {
				return auth.User{}, err
			}
		}
	}
	if user == nil {
		return auth.User{}, p.Refused(mechanism, "", ErrProof)
	}
	return *user, nil
}

// begin returns the server of an exchange, ErrUnknown or ErrPlaintext.
func (l *Logins) begin(name string, p Peer) (sasl.Server, error) {
	for _, m := range mechanisms {
		switch {
		case m.name != name || m.possible != nil && !m.possible(l, p.TLS):
		case m.plaintext && !p.Plaintext:
			return nil, ErrPlaintext
		default:
			return m.begin(l, p), nil
		}
	}
	return nil, ErrUnknown
}

// Password logs in a user with a name and a password: the command LOGIN of IMAP. The error is
// that of p.Refused.
func (l *Logins) Password(p Peer, name, password string) (user auth.User, err error) {
	p.login = func(u auth.User) { user = u }
	err = l.password(p, sasl.Login, "", name, password)
	return user, err
}

func (l *Logins) password(p Peer, mechanism, identity, name, password string) error {
	user, err := l.Passwords.Authenticate(p.Ctx, p.From, name, password)
	if err == nil && !actsAsSelf(identity, name, user) {
		err = ErrOther
	}
	if err != nil {
		return p.Refused(mechanism, name, err)
	}
	p.login(user)
	return nil
}

// actsAsSelf tells whether an authorization identity (RFC 4422 section 2) is that of the
// user who proved to be name, or "", which stands for it.
func actsAsSelf(identity, name string, user auth.User) bool {
	return identity == "" || strings.EqualFold(identity, name) || strings.EqualFold(identity, user.Name)
}
