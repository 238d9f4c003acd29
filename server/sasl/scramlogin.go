package sasl

import (
	"crypto/tls"
	"errors"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"maildird/auth"
)

// The mechanisms of RFC 7677. The second one is bound to the TLS connection.
const (
	scramName = "SCRAM-SHA-256"
	scramPlus = scramName + "-PLUS"
)

func scramPossible(l *Logins, _ *tls.ConnectionState) bool {
	return l.Users != nil && l.Users.SCRAMReady()
}

func scramPlusPossible(l *Logins, state *tls.ConnectionState) bool {
	return scramPossible(l, state) && bindable(state)
}

// bindable reports whether SCRAM-SHA-256-PLUS is possible on a TLS connection, nil without TLS. With
// TLS 1.2 this requires that both sides use the extended master secret (RFC 9266 section
// 4.2). A client that sees the mechanism must choose it (RFC 5802 section 6), and otherwise
// could not log in.
func bindable(state *tls.ConnectionState) bool {
	if state == nil {
		return false
	}
	_, err := scram.NewTLSExporterBinding(state)
	return err == nil
}

// newSCRAMLogin returns the server of a login with SCRAM-SHA-256, which with plus is bound
// to the TLS connection.
func newSCRAMLogin(users Users, p Peer, plus bool) sasl.Server {
	name := scramName
	if plus {
		name = scramPlus
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
	if err == nil && done && !actsAsSelf(x.exchange.Identity(), name, x.user) {
		err = ErrOther
	}
	if errors.Is(err, ErrProof) || errors.Is(err, ErrOther) {
		if why := x.users.Allowed(p.From, name); errors.Is(why, auth.ErrNoLogin) {
			err = why // no proof can be right
		}
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
	p.login(x.user)
	return challenge, true, nil
}
