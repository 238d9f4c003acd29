package imap

import (
	"crypto/tls"

	gosasl "github.com/emersion/go-sasl"

	"maildird/auth"
	"maildird/server/sasl"
)

// scramExtension is SCRAM-SHA-256 (RFC 7677) and, over TLS, its variant with channel binding,
// which is stronger and thus announced first.
func scramExtension(users sasl.Users) extension {
	if users == nil {
		return extension{}
	}
	server := func(plus bool) func(*session, func(auth.User)) gosasl.Server {
		return func(s *session, login func(auth.User)) gosasl.Server {
			return sasl.NewSCRAMLogin(users, s.saslPeer(login), plus)
		}
	}
	return extension{mechanisms: []mechanism{
		{name: sasl.SCRAMPlus, ready: func(s *session) bool { return users.SCRAMReady() && sasl.Bindable(tlsState(s)) }, server: server(true)},
		{name: sasl.SCRAM, ready: func(*session) bool { return users.SCRAMReady() }, server: server(false)},
	}}
}

// tokenExtension is OAUTHBEARER (RFC 7628) and XOAUTH2.
func tokenExtension(users sasl.Users, tokens sasl.Tokens) extension {
	if users == nil || tokens == nil {
		return extension{}
	}
	token := func(name string) mechanism {
		return mechanism{name: name, plaintext: true, server: func(s *session, login func(auth.User)) gosasl.Server {
			return sasl.NewTokenLogin(name, users, tokens, s.saslPeer(login))
		}}
	}
	return extension{mechanisms: []mechanism{token(sasl.OAuthBearer), token(sasl.XOAuth2)}}
}

func tlsState(s *session) *tls.ConnectionState {
	conn, ok := s.wire.Stream.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// saslPeer describes the client to the mechanisms.
func (s *session) saslPeer(login func(auth.User)) sasl.Peer {
	return sasl.Peer{Ctx: s.ctx, From: s.peer.Addr, TLS: tlsState(s), Login: login, Refused: s.refusedLogin}
}
