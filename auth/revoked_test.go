package auth

import (
	"net/netip"
	"os"
	"testing"
)

// TestRevoked: a login remains valid as long as the same login would be accepted again.
func TestRevoked(t *testing.T) {
	const line = "alice@example.org:{PLAIN}a:1000:1000::/home/alice::"
	key := func(s string) string {
		h, err := hashSCRAM([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return " scram_sha_256=" + h
	}
	old, other := key("a"), key("b")
	from := netip.MustParseAddr("192.0.2.7")
	for name, c := range map[string]struct {
		before, after string
		want          bool
	}{
		"as it was":            {line, line, false},
		"others":               {line, "bob@example.org:{PLAIN}b\n# x\n" + line, false},
		"quota and home":       {line, "alice@example.org:{PLAIN}a:1000:1000:Alice:/mail::userdb_quota_rule=*:storage=1G", false},
		"another order":        {line + "x=1" + old, line + "y=2" + old + " z", false},
		"removed":              {line, "bob@example.org:{PLAIN}b", true},
		"password":             {line, "alice@example.org:{PLAIN}b", true},
		"locked as in shadow":  {line, "alice@example.org:!:1000", true},
		"nologin":              {line, line + "nologin", true},
		"not from there":       {line, line + "allow_nets=198.51.100.0/24", true},
		"from there":           {line, line + "allow_nets=192.0.2.0/24", false},
		"keys":                 {line + old, line + other, true},
		"keys are taken away":  {line + old, line, true},
		"line cannot be used":  {line, line + "userdb_mail=maildir:/x", true},
		"name in other letter": {line, "Alice@example.org:{PLAIN}a", false},
	} {
		t.Run(name, func(t *testing.T) {
			u, path, _ := open(t, c.before+"\n")
			user, ok := u.Lookup("alice")
			if !ok || u.Revoked(from, user) {
				t.Fatalf("a login that nothing happened to: %v, revoked", ok)
			}
			was := u.Revision()
			if err := os.WriteFile(path, []byte(c.after+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := u.Reload(); err != nil {
				t.Fatal(err)
			}
			if u.Revision() == was {
				t.Error("the revision is the same")
			}
			if got := u.Revoked(from, user); got != c.want {
				t.Errorf("revoked: %v", got)
			}
		})
	}
}
