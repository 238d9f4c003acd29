package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"maildird/auth"
)

// Users are users who can prove who they are without a password being shown.
type Users interface {
	// SCRAMReady tells whether every user has keys for SCRAM.
	SCRAMReady() bool
	// SCRAM returns what a proof is checked against, for any name.
	SCRAM(name string) scram.StoredCredentials
	// Lookup finds a user by the full address or by a local part that one user
	// has, in any case of letters.
	Lookup(name string) (auth.User, bool)
	// Allowed returns auth.ErrNotAllowed if a user may not log in from an address.
	Allowed(from netip.Addr, name string) error
	// Admit returns auth.ErrThrottled if no login may be tried now. Otherwise
	// Failed or Succeeded follows.
	Admit(from netip.Addr, name string) error
	// Failed counts a login that failed, and returns when it may be answered or
	// ctx has ended.
	Failed(ctx context.Context, from netip.Addr, name string)
	// Succeeded notes a login that was proved.
	Succeeded(from netip.Addr, name string)
}

// Peer is who logs in, as the mechanisms of this package need to know it.
type Peer struct {
	Ctx  context.Context      // ends the exchange
	From netip.Addr           // the zero one for Unix sockets
	TLS  *tls.ConnectionState // nil without TLS
	// Login takes the user that the peer proved to be.
	Login func(auth.User)
	// Refused logs that a login failed, and returns the answer of the protocol.
	// The error is ErrProof, ErrToken, ErrOther, auth.ErrNotAllowed,
	// auth.ErrThrottled, or one that passes by itself.
	Refused func(mechanism, name string, err error) error
}

// Why logins fail.
var (
	// ErrProof says that the client did not prove that it knows the password.
	ErrProof = errors.New("proof is wrong")
	// ErrToken says that a token is not valid, or nobody's here.
	ErrToken = errors.New("token is not valid")
	// ErrOther says that the client wants to act for another user.
	ErrOther = errors.New("acting for another user is not supported")
)

// NewSCRAMLogin begins a login by SCRAM-SHA-256, with plus bound to the TLS
// connection.
func NewSCRAMLogin(users Users, p Peer, plus bool) sasl.Server {
	name := SCRAM
	if plus {
		name = SCRAMPlus
	}
	x := &scramLogin{mechanism: name, users: users, peer: p}
	x.exchange = newSCRAM(x.keys, p.TLS, plus)
	return x
}

// scramLogin is one exchange of SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
type scramLogin struct {
	mechanism string
	users     Users
	peer      Peer
	exchange  *scramExchange
	user      auth.User // as he was when the exchange began
}

// keys gives what the proof is checked against. Who the user is is asked before:
// a login with a password that is changed meanwhile does not hold.
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
	if errors.Is(err, ErrProof) {
		x.users.Failed(p.Ctx, p.From, name)
		return nil, true, p.Refused(x.mechanism, name, err)
	}
	if err != nil || !done {
		return challenge, done, err
	}
	if _, ok := x.users.Lookup(name); !ok { // removed just now
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
