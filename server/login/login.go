// Package login is what SMTP and IMAP share about logins, whatever the mechanism (package
// sasl): who may send a password, what is logged about a failed login, and how a session ends
// whose login has been revoked. The protocols word the replies to clients.
package login

import "net/netip"

// PasswordsAllowed reports whether a client may send a password in plain text: over TLS,
// through a Unix socket (the zero address), or from a network that the operator trusts.
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
