package auth

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// TestAccess: extra fields restrict the addresses from which a user may log in, with a password
// or otherwise. Mail for the user is accepted all the same.
func TestAccess(t *testing.T) {
	u, _, _ := open(t, `free@example.org:{PLAIN}x
nets@example.org:{PLAIN}x::::::allow_nets=192.0.2.0/24,198.51.100.7,2001:db8::/32
both@example.org:{PLAIN}x::::::allow_nets=192.0.2.0/24 allow_real_nets=192.0.2.8/29,local
local@example.org:{PLAIN}x::::::userdb_quota_rule=*:storage=1G allow_nets=local
never@example.org:{PLAIN}x::::::nologin
never2@example.org:{PLAIN}x::::::nologin=y allow_nets=192.0.2.0/24
fail@example.org:{PLAIN}x::::::fail=no
noauth@example.org:{PLAIN}x::::::noauthenticate
never3@example.org:{PLAIN}x::::::nologin:protected
never4@example.org:{PLAIN}x::::::nologin:protected=y
nets2@example.org:{PLAIN}x::::::allow_nets:protected=192.0.2.0/24
`)
	unix := netip.Addr{}
	for _, c := range []struct {
		user, from string
		want       bool
	}{
		{"free", "203.0.113.1", true}, {"free", "", true},
		{"nets", "192.0.2.255", true}, {"nets", "192.0.3.0", false}, {"nets", "198.51.100.7", true}, {"nets", "198.51.100.8", false},
		{"nets", "::ffff:192.0.2.1", true}, {"nets", "2001:db8:1::1", true}, {"nets", "2001:db9::1", false}, {"nets", "", false},
		{"both", "192.0.2.9", true}, {"both", "192.0.2.1", false}, {"both", "203.0.113.1", false}, {"both", "", false},
		{"local", "", true}, {"local", "127.0.0.1", false},
		{"never", "192.0.2.1", false}, {"never", "", false}, {"never2", "192.0.2.1", false},
		{"fail", "192.0.2.1", false}, {"fail", "", false}, {"noauth", "192.0.2.1", false}, {"never3", "192.0.2.1", false}, {"never4", "192.0.2.1", false},
		{"nets2", "192.0.2.1", true}, {"nets2", "203.0.113.1", false},
	} {
		from := unix
		if c.from != "" {
			from = netip.MustParseAddr(c.from)
		}
		if err := u.Allowed(from, c.user); (err == nil) != c.want || err != nil && (!errors.Is(err, ErrNotAllowed) || !errors.Is(err, ErrInvalid)) {
			t.Errorf("%s from %q: %v, want allowed: %v", c.user, c.from, err, c.want)
		}
		if _, ok := u.Lookup(c.user); !ok {
			t.Errorf("%s gets no mail", c.user)
		}
	}
	for _, c := range []struct {
		user, password, from string
		want                 error
	}{
		{"nets", "x", "192.0.2.1", nil}, {"nets", "x", "203.0.113.1", ErrNotAllowed},
		{"nets", "x", "192.0.2.1", nil}, // also after a failure, and from memory
		{"nets", "x", "203.0.113.1", ErrNotAllowed},
		{"nets", "wrong", "203.0.113.1", ErrInvalid}, {"never", "x", "192.0.2.1", ErrNotAllowed},
	} {
		if _, err := u.Authenticate(context.Background(), netip.MustParseAddr(c.from), c.user, c.password); err != c.want {
			t.Errorf("%s with %s from %s: %v, want %v", c.user, c.password, c.from, err, c.want)
		}
	}
	if err := u.Allowed(unix, "nobody"); err != nil {
		t.Errorf("an unknown user: %v", err)
	}
}

func TestWrongNetworks(t *testing.T) {
	for _, list := range []string{"", ",", "192.0.2.0/33", "192.0.2", "example.org", "192.0.2.1,", "fe80::1%eth0", "::ffff:192.0.2.0/120", "LOCAL"} {
		if _, err := accessOf([]string{"allow_nets=" + list}); err == nil {
			t.Errorf("allow_nets=%s is taken", list)
		}
	}
}
