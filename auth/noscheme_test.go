package auth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestUnsupportedScheme: a user whose password cannot be checked receives mail, but cannot log
// in, and to a client he looks like any other user. The operator is told.
func TestUnsupportedScheme(t *testing.T) {
	keys, err := hashSCRAM([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	u, path, log := open(t, "alice:{SCRAM-SHA-256}"+keys+"\ncarol:$3$$abcdef:1000:1000::/home/carol\ndora:!\nemil:{ROT13}secret::::::"+fieldSCRAM+keys+"\n")
	if !u.SCRAMReady() {
		t.Error("SCRAM is not offered because users who cannot log in have no keys")
	}
	for name, problem := range map[string]string{
		"carol": ":2: carol@example.org cannot log in, but receives mail: unsupported password: it does not begin with its scheme",
		"dora":  ":3: dora@example.org cannot log in", "emil": ":4: emil@example.org cannot log in, but receives mail: unsupported password: the scheme \"ROT13\" is not one of",
	} {
		user, ok := u.Lookup(name)
		if !ok || u.LeftOut(name) {
			t.Errorf("%s receives no mail", name)
		}
		if name == "carol" && (user.Home != "/home/carol" || user.UID != 1000) {
			t.Errorf("carol is %+v", user)
		}
		for _, password := range []string{"secret", "!", "x", ""} {
			if _, err := u.Authenticate(context.Background(), netip.Addr{}, name, password); err != ErrScheme || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s with %q: %v, want ErrScheme", name, password, err)
			}
		}
		if err := u.Allowed(netip.Addr{}, name); err != ErrScheme {
			t.Errorf("%s with a token: %v, want ErrScheme", name, err)
		}
		if got := u.SCRAM(name); got.Salt == u.SCRAM("alice").Salt || got.Iters != u.SCRAM("alice").Iters {
			t.Errorf("what SCRAM shows of %s is not like a user's, or is alice's", name)
		}
		if e := u.check.standIn(u.current(), name); e == nil || e.user.Name != "alice@example.org" {
			t.Errorf("a login as %s takes as long as that of %+v", name, e)
		}
		unusable, noLogin, err := u.Problems()
		if err != nil || len(unusable) > 0 || !slices.ContainsFunc(noLogin, func(p string) bool { return strings.HasPrefix(p, path+problem) }) {
			t.Errorf("%s: problems %q, %q, %v", name, unusable, noLogin, err)
		}
	}
	if n := strings.Count(log.String(), `level=WARN msg="users file has a user who cannot log in"`); n != 3 || !strings.Contains(log.String(), "line=2 ") {
		t.Errorf("%d lines in the log:\n%s", n, log)
	}
	if strings.Contains(log.String(), "cannot be checked") {
		t.Errorf("each login is an error in the log:\n%s", log)
	}
	// A login ends when the scheme is one that is not supported, and when it was the only user's.
	alice, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("alice:{ROT13}secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.Reload(); err != nil {
		t.Fatal(err)
	}
	if !u.Revoked(netip.Addr{}, alice) || u.SCRAMReady() || u.Empty() {
		t.Error("alice's sessions continue, SCRAM is offered to nobody, or there are no users")
	}
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "secret"); err != ErrScheme {
		t.Errorf("the only user: %v, want ErrScheme", err)
	}
}
