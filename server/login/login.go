// Package login is what SMTP and IMAP have in common about logins, whatever the
// mechanism (package sasl): who may send a password, what is logged about a failed
// login, and how a session ends whose login has been revoked. The replies to clients
// are up to the protocols.
package login

import (
	"context"
	"net/netip"

	"maildird/auth"
)

// Authenticator checks passwords that come from an address, the zero one for
// Unix sockets. An unknown user and a wrong password both give auth.ErrInvalid
// after the same time; auth.ErrThrottled is for those that are not checked now;
// other errors pass by themselves.
type Authenticator interface {
	Authenticate(ctx context.Context, from netip.Addr, name, password string) (auth.User, error)
}

// PasswordsAllowed tells whether a client may send a password as it is: over TLS,
// a Unix socket (the zero address), or from where the operator trusts the network.
func PasswordsAllowed(tls bool, from netip.Addr, trusted []netip.Prefix) bool {
	if tls || !from.IsValid() {
		return true
	}
	for _, p := range trusted {
		if p.Contains(from) {
			return true
		}
	}
	return false
}
