package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"

	"github.com/emersion/go-imap/v2"
	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"maildird/auth"
	"maildird/server/sasl"
)

// SCRAMUsers are users whose passwords can be proved without being shown.
type SCRAMUsers interface {
	// SCRAMReady tells whether every user has keys for SCRAM.
	SCRAMReady() bool
	// SCRAM returns what a proof is checked against, for any name.
	SCRAM(name string) scram.StoredCredentials
	Lookup(name string) (auth.User, bool)
	// Admit tells whether a login may be tried now. Failed or Succeeded follows.
	Admit(from netip.Addr, name string) error
	Failed(ctx context.Context, from netip.Addr, name string)
	Succeeded(from netip.Addr, name string)
}

// scramExtension is SCRAM-SHA-256 (RFC 7677) and, over TLS, its variant with
// channel binding. The strongest mechanism is announced first.
func scramExtension(users SCRAMUsers) extension {
	if users == nil {
		return extension{}
	}
	return extension{mechanisms: []mechanism{
		{name: sasl.SCRAMPlus, ready: func(s *session) bool { return tlsState(s) != nil && users.SCRAMReady() }, server: scramServer(users, true)},
		{name: sasl.SCRAM, ready: func(*session) bool { return users.SCRAMReady() }, server: scramServer(users, false)},
	}}
}

func scramServer(users SCRAMUsers, plus bool) func(*session, func(auth.User)) gosasl.Server {
	name := sasl.SCRAM
	if plus {
		name = sasl.SCRAMPlus
	}
	return func(s *session, login func(auth.User)) gosasl.Server {
		return &scramLogin{s: s, mechanism: name, users: users, login: login, exchange: sasl.NewSCRAM(users.SCRAM, tlsState(s), plus)}
	}
}

func tlsState(s *session) *tls.ConnectionState {
	conn, ok := s.wire.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// scramLogin is an exchange that ends in a login.
type scramLogin struct {
	s         *session
	mechanism string
	users     SCRAMUsers
	login     func(auth.User)
	exchange  *sasl.Exchange
}

// Next implements go-sasl's Server.
func (x *scramLogin) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = x.exchange.Next(response)
	name, from := x.exchange.Name(), x.s.remote.Addr()
	if name != "" && (done || errors.Is(err, sasl.ErrProof)) {
		if err := x.users.Admit(from, name); err != nil {
			return nil, true, x.s.loginFailed(x.mechanism, name, err)
		}
	}
	if errors.Is(err, sasl.ErrProof) {
		x.users.Failed(x.s.ctx, from, name)
		return nil, true, x.s.loginFailed(x.mechanism, name, err)
	}
	if err != nil || !done {
		return challenge, done, err
	}
	user, ok := x.users.Lookup(name)
	if !ok {
		return nil, true, no(imap.ResponseCodeAuthenticationFailed, "The user was removed just now.")
	}
	x.users.Succeeded(from, name)
	x.login(user)
	return challenge, true, nil
}
