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

// Users are the users who can log in without sending a password.
type Users interface {
	// SCRAMReady reports whether every user has keys for SCRAM.
	SCRAMReady() bool
	// SCRAM returns what a proof is checked against. It must work for any name.
	SCRAM(name string) scram.StoredCredentials
	// Lookup finds a user by his full address, or by a local part that only one user
	// has. It ignores case.
	Lookup(name string) (auth.User, bool)
	// Allowed returns auth.ErrNotAllowed if a user may not log in from an address.
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
	// Login is called with the user whose identity was proved.
	Login func(auth.User)
	// Refused logs a failed login and returns the protocol's error for it. err is
	// ErrProof, ErrToken, ErrOther, auth.ErrNotAllowed or auth.ErrThrottled; any
	// other error is temporary.
	Refused func(mechanism, name string, err error) error
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

// ActsAsSelf tells whether an authorization identity (RFC 4422 section 2) is that of the
// user who proved to be name, or "", which stands for it.
func ActsAsSelf(identity, name string, user auth.User) bool {
	return identity == "" || strings.EqualFold(identity, name) || strings.EqualFold(identity, user.Name)
}

// NewSCRAMLogin returns the server of a login with SCRAM-SHA-256, which with plus is bound
// to the TLS connection.
func NewSCRAMLogin(users Users, p Peer, plus bool) sasl.Server {
	name := SCRAM
	if plus {
		name = SCRAMPlus
	}
	x := &scramLogin{mechanism: name, users: users, peer: p}
	x.exchange = newSCRAM(x.keys, p.TLS, plus)
	return x
}

// scramLogin is an exchange of SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
type scramLogin struct {
	mechanism string
	users     Users
	peer      Peer
	exchange  *scramExchange
	user      auth.User // as of the beginning of the exchange
}

// keys returns what the proof is checked against. It looks up the user first, so that a login
// is not valid if the password is changed meanwhile.
func (x *scramLogin) keys(name string) scram.StoredCredentials {
	x.user, _ = x.users.Lookup(name)
	return x.users.SCRAM(name)
}

// Next implements go-sasl's Server.
func (x *scramLogin) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = x.exchange.Next(response)
	name, p := x.exchange.Name(), &x.peer
	if name != "" && (done || errors.Is(err, ErrProof)) {
		if err := x.users.Admit(p.From, name); err != nil {
			return nil, true, p.Refused(x.mechanism, name, err)
		}
	}
	if err == nil && done && !ActsAsSelf(x.exchange.Identity(), name, x.user) {
		err = ErrOther
	}
	if errors.Is(err, ErrProof) || errors.Is(err, ErrOther) {
		x.users.Failed(p.Ctx, p.From, name)
		return nil, true, p.Refused(x.mechanism, name, err)
	}
	if err != nil || !done {
		return challenge, done, err
	}
	if _, ok := x.users.Lookup(name); !ok { // just removed
		return nil, true, p.Refused(x.mechanism, name, ErrProof)
	}
	if err := x.users.Allowed(p.From, name); err != nil {
		x.users.Failed(p.Ctx, p.From, name)
		return nil, true, p.Refused(x.mechanism, name, err)
	}
	x.users.Succeeded(p.From, name)
	p.Login(x.user)
	return challenge, true, nil
}
