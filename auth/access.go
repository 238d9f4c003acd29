package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ErrNotAllowed is for a user who proved who he is, and whom the users file does
// not let in from where he is. To a client it is ErrInvalid, which it is too.
var ErrNotAllowed error = notAllowed{}

// notAllowed is the type of ErrNotAllowed, which is ErrInvalid besides.
type notAllowed struct{}

func (notAllowed) Error() string {
	return "the users file does not allow this user to log in from here (allow_nets, nologin, fail)"
}

func (notAllowed) Is(target error) bool { return target == ErrInvalid }

// access is from where a user may log in, by the extra fields that Dovecot has
// for it: "nologin" and "fail", whatever their values, and lists of networks, all
// of which an address has to be in:
//
//	allow_nets=192.0.2.0/24,2001:db8::/32,127.0.0.1,local
//
// "local" stands for Unix sockets. Zero: from everywhere.
type access struct {
	never bool
	nets  []allowedNets
}

// allowedNets is one list of networks.
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
		switch name {
		case "nologin", "fail":
			a.never = true
		case "allow_nets", "allow_real_nets": // there is nobody before us who has a connection of his own
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
	if len(nets.prefixes) == 0 && !nets.local {
		return nets, errors.New("no network is named")
	}
	return nets, nil
}

// Revoked tells whether a user who logged in from an address (the zero one for Unix
// sockets) could not do so any more as he did: he is not in the users file, or on a
// line that cannot be used, his password is another one, or he is not let in from
// there. Other changes of his line, as of the quota, revoke nothing.
func (u *Users) Revoked(from netip.Addr, user User) bool {
	e := u.current().find(user.Name)
	return e == nil || e.user.proof != user.proof || !e.allows(from)
}

// proofOf is a hash of a line's password and SCRAM keys.
func proofOf(password string, extra []string) [sha256.Size]byte {
	text := password
	for _, field := range extra {
		if strings.HasPrefix(field, fieldSCRAM) {
			text += ":" + field
		}
	}
	return sha256.Sum256([]byte(text))
}

// Allowed returns ErrNotAllowed if the users file keeps a user from logging in
// from an address (the zero one for Unix sockets), nil for unknown users.
// Authenticate asks by itself.
func (u *Users) Allowed(from netip.Addr, name string) error {
	if e := u.current().find(name); e != nil && !e.allows(from) {
		return ErrNotAllowed
	}
	return nil
}
