package auth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNoLogin: a user whose password cannot be checked, or of whom it is not known from where he
// may log in, receives mail, but cannot log in, and to a client he looks like any other user. The
// operator is told.
func TestNoLogin(t *testing.T) {
	keys, err := hashSCRAM([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	u, path, log := open(t, "alice:{SCRAM-SHA-256}"+keys+"\ncarol:$3$$abcdef:1000:1000::/home/carol\ndora:!\nemil:{ROT13}secret::::::"+fieldSCRAM+keys+
		"\nfrida::1000:1000::/home/frida\ngerd:\nheidi:{PLAIN}::::::nopassword\nivan:{ARGON2ID}x\njan:{ROT\nkurt:{SCRAM-SHA-256}x\nlisa:{PLAIN}secret::::::"+fieldSCRAM+"x"+
		"\nmax:{PLAIN}secret::::::allow_nets=all\nnora:::::::nologin\notto:{PLAIN}secret:::::nologin\n")
	u.check.throttle.pause = func(context.Context, time.Duration) {}
	if !u.SCRAMReady() {
		t.Error("SCRAM is not offered because users who cannot log in have no keys")
	}
	for name, problem := range map[string]string{
		"carol": ":2: carol@example.org cannot log in, but receives mail: unsupported password: it does not begin with its scheme",
		"dora":  ":3: dora@example.org cannot log in", "emil": ":4: emil@example.org cannot log in, but receives mail: unsupported password: the scheme \"ROT13\" is not one of",
		"frida": ":5: frida@example.org and 1 more cannot log in, but receive mail: there is no password", "gerd": ":5: frida@example.org and 1 more",
		"heidi": ":7: heidi@example.org cannot log in, but receives mail: the password is empty", "ivan": ":8: ivan@example.org cannot log in, but receives mail: malformed Argon2 hash",
		"jan": ":9: jan@example.org cannot log in, but receives mail: the password scheme does not end", "kurt": ":10: kurt@example.org cannot log in, but receives mail: malformed SCRAM keys",
		"lisa": ":11: lisa@example.org cannot log in, but receives mail: malformed SCRAM keys", "max": ":12: max@example.org cannot log in, but receives mail: allow_nets: \"all\" is not a network",
		"nora": "", "otto": ":14: otto@example.org cannot log in, but receives mail: \"nologin\" is in the place of the shell",
	} {
		user, ok := u.Lookup(name)
		if !ok || u.LeftOut(name) {
			t.Errorf("%s receives no mail", name)
		}
		if name == "carol" && (user.Home != "/home/carol" || user.UID != 1000) {
			t.Errorf("carol is %+v", user)
		}
		for _, password := range []string{"secret", "!", "x", ""} {
			if _, err := u.Authenticate(context.Background(), netip.Addr{}, name, password); err != ErrNoLogin || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s with %q: %v, want ErrNoLogin", name, password, err)
			}
		}
		if err := u.Allowed(netip.Addr{}, name); err != ErrNoLogin {
			t.Errorf("%s with a token: %v, want ErrNoLogin", name, err)
		}
		if got := u.SCRAM(name); got.Salt == u.SCRAM("alice").Salt || got.Iters != u.SCRAM("alice").Iters {
			t.Errorf("what SCRAM shows of %s is not like a user's, or is alice's", name)
		}
		if e := u.check.standIn(u.current(), name); e == nil || e.user.Name != "alice@example.org" {
			t.Errorf("a login as %s takes as long as that of %+v", name, e)
		}
		if problem == "" { // as intended
			continue
		}
		unusable, noLogin, err := u.Problems()
		if err != nil || len(unusable) > 0 || !slices.ContainsFunc(noLogin, func(p string) bool { return strings.HasPrefix(p, path+problem) }) {
			t.Errorf("%s: problems %q, %q, %v", name, unusable, noLogin, err)
		}
	}
	if n := strings.Count(log.String(), `level=WARN msg="users file has a user who cannot log in"`); n != 11 || !strings.Contains(log.String(), "line=2 ") {
		t.Errorf("%d lines in the log:\n%s", n, log)
	}
	if strings.Contains(log.String(), "cannot be checked") {
		t.Errorf("each login is an error in the log:\n%s", log)
	}
	// A login ends when nobody can log in as that user, even if he was the only one.
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
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "secret"); err != ErrNoLogin {
		t.Errorf("the only user: %v, want ErrNoLogin", err)
	}
	if err := os.WriteFile(path, []byte("alice:{SCRAM-SHA-256}"+keys+"::::::allow_nets=all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.Reload(); err != nil {
		t.Fatal(err)
	}
	if !u.Revoked(netip.Addr{}, alice) {
		t.Error("alice's sessions continue although it is not known from where she may log in")
	}
}

// TestHashesOfNoPassword: a hash that no password can have is known as such before anybody logs in.
func TestHashesOfNoPassword(t *testing.T) {
	const salt22, hash31, hash43 = "7P3QbZ1mFq0m0tK3oXx2Uu", "Y6sS0f7w1Zy2o0E9y7a2o7mXn6y0G6e", "0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"
	for _, stored := range []string{
		"", "{}", "{", "{PLAIN}", "{CLEARTEXT}", "{PLAIN}" + strings.Repeat("x", MaxPassword+1), "{CRYPT}", "!", "*", "x",
		"{ARGON2ID}x", "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$", "{ARGON2ID}$argon2id$v=19$m=-8,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "{ARGON2ID}$argon2id$v=18$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
		"{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$%$aGFzaA", "{ARGON2I}$2y$05$" + salt22 + hash31,
		"$2y$05$" + salt22, "$2y$05$" + salt22 + hash31[:30], "$2y$05$" + salt22 + hash31 + "x", "$2y$05$" + salt22 + "%" + hash31[1:], "$2y$03$" + salt22 + hash31, "$2y$xx$" + salt22 + hash31,
		"$5$salt$", "$5$salt", "$5$" + hash43, "$5$salt$x", "$6$salt$" + hash43, "$5$salt$" + hash43 + hash43, "$5$rounds=x$salt$" + hash43, "$5$salt$%" + hash43[1:],
		"$1$salt$", "$1$salt$x", "{MD5}$1$salt$x", "{MD5}x", "{SSHA256}eA==", "{SHA}eA==", "{PBKDF2}$1$salt$5$d193", "{SCRAM-SHA-256}1,c2FsdA==,eA==,eA==",
	} {
		if _, _, err := schemeOf(stored); err == nil {
			t.Errorf("%q is taken for a hash", stored)
		}
	}
}
