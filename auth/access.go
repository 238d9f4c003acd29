package auth

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ErrNotAllowed is for a user who proved his identity, but whom the users file does not allow
// to log in from his address. ErrNoLogin is for a user who cannot log in at all, because no
// password can match his line in the users file. Both also are ErrInvalid, which is all that a
// client learns.
var (
	ErrNotAllowed error = refusal("the users file does not allow this user to log in from here (allow_nets, nologin, fail, noauthenticate)")
	ErrNoLogin    error = refusal("nobody can log in as this user, because of his password or extra fields in the users file; \"config check\" says why")
)

// refusal is the type of ErrNotAllowed and ErrNoLogin.
type refusal string

func (r refusal) Error() string { return string(r) }

func (refusal) Is(target error) bool { return target == ErrInvalid }

// noLoginFields are the extra fields of Dovecot that, with any value, forbid all logins.
var noLoginFields = [...]string{"nologin", "fail", "noauthenticate"}

// access says from where a user may log in, by the extra fields of Dovecot: noLoginFields, and
// lists of networks, in every one of which the address must be:
//
//	allow_nets=192.0.2.0/24,2001:db8::/32,127.0.0.1,local
//
// "local" stands for Unix sockets. The zero value allows logins from everywhere.
type access struct {
	never bool
	nets  []allowedNets
}

// allowedNets is a list of networks.
type allowedNets struct {
	prefixes []netip.Prefix
	local    bool
}

func (a *access) allows(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return !a.never && !slices.ContainsFunc(a.nets, func(n allowedNets) bool {
		if !from.IsValid() {
			return !n.local
		}
		return !slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(from) })
	})
}

func accessOf(extra []string) (a access, err error) {
	for _, field := range extra {
		name, value, _ := strings.Cut(field, "=")
		switch {
		case slices.Contains(noLoginFields[:], name):
			a.never = true
		case name == "allow_nets", name == "allow_real_nets": // no proxy in front of us has connections of its own
			nets, err := parseNets(value)
			if err != nil {
				return a, fmt.Errorf("%s: %w", name, err)
			}
			a.nets = append(a.nets, nets)
		}
	}
	return a, nil
}

func parseNets(list string) (nets allowedNets, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text == "local" {
			nets.local = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nets, fmt.Errorf("%q is not a network; write 192.0.2.0/24, 2001:db8::1 or local", text)
		}
		nets.prefixes = append(nets.prefixes, p)
	}
	return nets, nil
}

// Revoked reports whether a user who logged in from an address (the zero one for Unix sockets)
// could no longer log in the same way: he is no longer in the users file, his line cannot be
// used, his password has changed, or he may not log in from this address. Other changes of his
// line, such as a new quota, revoke nothing.
func (u *Users) Revoked(from netip.Addr, user User) bool {
	e := u.current().find(user.Name)
	return e == nil || e.noLogin != nil || e.user.proof != user.proof || !e.allows(from)
}

// proofOf returns a hash of the password and the SCRAM keys of a line.
func proofOf(password string, extra []string) [sha256.Size]byte {
	text := password
	for _, field := range extra {
		if strings.HasPrefix(field, fieldSCRAM) {
			text += ":" + field
		}
	}
	return sha256.Sum256([]byte(text))
}

// Allowed returns ErrNotAllowed if the users file forbids a user to log in from an address (the
// zero one for Unix sockets), ErrNoLogin if he cannot log in from anywhere, and nil for unknown
// users. Authenticate calls it implicitly.
func (u *Users) Allowed(from netip.Addr, name string) error {
	switch e := u.current().find(name); {
	case e == nil:
		return nil
	case e.noLogin != nil:
		return ErrNoLogin
	case !e.allows(from):
		return ErrNotAllowed
	}
	return nil
}
