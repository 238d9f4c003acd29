package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var domains = []string{"example.org", "example.net"}

func open(t *testing.T, text string) (*Users, string, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	u, err := OpenUsers(path, domains, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return u, path, &log
}

const file = `# the users
alice@example.org:{PLAIN}a:1000:1001::/home/alice::userdb_x=y
Bob:{PLAIN}b

broken line
carol@example.org:nothing
dave@example.org:{ROT13}x
eve@example.org:{PLAIN}x:minus one
../frank@example.org:{PLAIN}x
alice@example.org:{PLAIN}again
gina@example.org:{PLAIN}g
gina@example.net:{PLAIN}n
`

func TestLookup(t *testing.T) {
	u, _, log := open(t, file)
	for _, c := range []struct{ address, want string }{
		{"alice@example.org", "alice@example.org"},
		{"ALICE@Example.ORG", "alice@example.org"},
		{"alice", "alice@example.org"},
		{"bob@example.org", "bob@example.org"},
		{"bob@example.net", ""},
		{"gina", ""}, // there are two
		{"gina@example.net", "gina@example.net"},
		{"carol@example.org", "carol@example.org"}, {"dave", "dave@example.org"}, {"eve", ""}, {"frank", ""}, {"../frank@example.org", ""},
		{"", ""}, {"@", ""}, {"alice@example.org@example.org", ""}, {"#", ""}, {"alice\x00@example.org", ""},
	} {
		got, ok := u.Lookup(c.address)
		if got.Name != c.want || ok != (c.want != "") {
			t.Errorf("Lookup(%q) = %+v, %v, want %q", c.address, got, ok, c.want)
		}
	}
	alice, _ := u.Lookup("alice")
	alice.proof = [len(alice.proof)]byte{}
	if want := (User{Name: "alice@example.org", Home: "/home/alice", UID: 1000, GID: 1001}); alice != want {
		t.Errorf("alice is %+v, want %+v", alice, want)
	}
	bob, _ := u.Lookup("bob")
	bob.proof = [len(bob.proof)]byte{}
	if want := (User{Name: "bob@example.org", UID: -1, GID: -1}); bob != want {
		t.Errorf("bob is %+v, want %+v", bob, want)
	}
	for _, line := range []int{5, 6, 7, 8, 9, 10} {
		if !strings.Contains(log.String(), fmt.Sprintf("line=%d ", line)) {
			t.Errorf("line %d is wrong and the log does not say so:\n%s", line, log)
		}
	}
	if strings.Contains(log.String(), "again") {
		t.Error("the log shows a password")
	}
}

// TestLeftOut: a name on an unusable line is known, but is not a user.
func TestLeftOut(t *testing.T) {
	u, _, _ := open(t, file+`
kim@example.org:{PLAIN}x::::::allow_nets=192.0.2.0/33
lea@example.org:{PLAIN}x::::::userdb_quota_rule=*:storage=1G userdb_mail=maildir:/elsewhere
leo@example.org:{PLAIN}x::::::domain=elsewhere.example
lou@example.org:{PLAIN}x::::::delay_until=9999999999
mia@example.org:{PLAIN}x::::::userdb_name=Mia
nina@example.org:{PLAIN}x::::: allow_nets=192.0.2.0/24
otto@example.org:{PLAIN}x:::::/sbin/nologin
paul@example.org:{PLAIN}x::::::userdb_mail_path=/elsewhere
gina:nothing
quin:{ROT13
rosa:{ROT13}x:minus one
sven:
tess
uli@example.org:{PLAIN}x::::::userdb_mail:protected=maildir:/elsewhere
vera@example.org:{PLAIN}x::::::userdb_namespace/inbox/location=maildir:/elsewhere userdb_namespace/inbox/separator=/
wim@example.org:{PLAIN}x::::::userdb_userdb_import=mail=maildir:/elsewhere
xena@example.org:{PLAIN}x::::::userdb_namespace/inbox/separator=/ nodelay k8=y host=192.0.2.1
yves@example.org:{PLAIN}x::::::userdb_chroot=/elsewhere
`)
	for _, c := range []struct {
		address       string
		leftOut, user bool
	}{
		{"carol@example.org", false, true}, {"Carol", false, true}, {"dave@example.org", false, true}, {"eve@Example.org", true, false},
		{"kim@example.org", false, true}, {"lea", true, false}, {"leo", true, false}, {"lou", true, false}, {"mia", false, true}, {"nina", true, false}, {"paul", true, false}, {"otto", false, true},
		{"alice@example.org", false, true}, // a duplicate line
		{"gina@example.net", false, true}, {"gina@example.org", false, true},
		{"quin", false, true}, {"rosa", true, false}, {"sven", false, true}, {"tess", true, false},
		{"uli", true, false}, {"vera", true, false}, {"wim", true, false}, {"xena", false, true}, {"yves", true, false},
		{"nobody@example.org", false, false}, {"carol@example.net", false, false}, {"broken line", false, false}, {"", false, false},
	} {
		if got := u.LeftOut(c.address); got != c.leftOut {
			t.Errorf("LeftOut(%q) = %v", c.address, got)
		}
		if _, ok := u.Lookup(c.address); ok != c.user {
			t.Errorf("Lookup(%q) finds a user: %v", c.address, ok)
		}
	}
}

// TestCrypt: the output of crypt(3) needs no scheme, as in Dovecot's passwd-file.
func TestCrypt(t *testing.T) {
	blowfish, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, bare := range []string{ // the others by openssl passwd
		"$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
		"$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
		string(blowfish), strings.Replace(string(blowfish), "$2a$", "$2y$", 1),
	} {
		for _, stored := range []string{bare, "{CRYPT}" + bare, "{crypt}" + bare} {
			if ok, err := matches(stored, []byte("secret")); !ok || err != nil {
				t.Errorf("%s does not match: %v", stored, err)
			}
			if ok, err := matches(stored, []byte("other")); ok || err != nil {
				t.Errorf("%s with another password: %v, %v", stored, ok, err)
			}
		}
	}
	for _, stored := range []string{"", "secret", "$3$$hash", "$y$j9T$salt$hash", "{CRYPT}", "{CRYPT}$y$j9T$salt$hash", "{CRYPT", "{}", "}$6$x"} {
		if s, _, err := schemeOf(stored); err == nil {
			t.Errorf("%q is taken for %s", stored, s.name)
		}
		if ok, err := matches(stored, nil); ok || err == nil {
			t.Errorf("%q matches: %v, %v", stored, ok, err)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	u, _, _ := open(t, file)
	ctx := context.Background()
	for range 2 { // the second time from memory
		if got, err := u.Authenticate(ctx, netip.Addr{}, "Alice", "a"); err != nil || got.Name != "alice@example.org" {
			t.Errorf("alice: %+v, %v", got, err)
		}
	}
	for _, c := range [][2]string{{"alice", "b"}, {"alice", ""}, {"nobody", "a"}, {"", ""}, {"alice", strings.Repeat("x", 2000)}, {"alice", "a\x00"}} {
		if _, err := u.Authenticate(ctx, netip.Addr{}, c[0], c[1]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q with %q: %v, want ErrInvalid", c[0], c[1], err)
		}
	}
}

func TestSchemes(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range schemes() {
		if !strings.Contains(string(readme), s.name) {
			t.Errorf("README, Users, does not name the password scheme %s", s.name)
		}
		if s.hash == nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			stored, err := HashPassword(s.name, "pässword 1")
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := matches(stored, []byte("pässword 1")); err != nil || !ok {
				t.Errorf("%s does not match: %v", stored, err)
			}
			if ok, _ := matches(stored, []byte("pässword 2")); ok {
				t.Errorf("%s matches another password", stored)
			}
		})
	}
}

// TestDovecot: Dovecot can verify the hashes that maildird stores, and maildird those of Dovecot.
func TestDovecot(t *testing.T) {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Fatal("doveadm is missing: apt-get install dovecot-core (make test does)")
	}
	for _, s := range schemes() {
		t.Run(s.name, func(t *testing.T) {
			if s.hash != nil {
				ours, err := HashPassword(s.name, "secret word")
				if err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("doveadm", "pw", "-t", ours, "-p", "secret word").CombinedOutput(); err != nil {
					t.Errorf("Dovecot does not take %s: %v %s", ours, err, out)
				}
			}
			out, err := exec.Command("doveadm", "pw", "-s", s.name, "-p", "secret word").Output()
			if err != nil {
				t.Fatal(err)
			}
			theirs := strings.TrimSpace(string(out))
			if ok, err := matches(theirs, []byte("secret word")); err != nil || !ok {
				t.Errorf("Dovecot's %s does not match: %v", theirs, err)
			}
			if ok, _ := matches(theirs, []byte("other word")); ok {
				t.Errorf("Dovecot's %s matches another password", theirs)
			}
		})
	}
}

func TestCostlyHashes(t *testing.T) {
	for _, stored := range []string{
		"{ARGON2ID}$argon2id$v=19$m=1073741824,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"{ARGON2ID}$argon2id$v=19$m=65536,t=999999,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1,m=1073741824$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", // the last value counts
		"{ARGON2ID}$argon2id$v=19,m=1073741824$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"{SHA512-CRYPT}$6$rounds=999999999$salt$x",
		"{SHA512-CRYPT}$6$rounds=1000,rounds=999999999$salt$x",
		"{BLF-CRYPT}$2y$31$7P3QbZ1mFq0m0tK3oXx2UuY6sS0f7w1Zy2o0E9y7a2o7mXn6y0G6e",
		"{ARGON2ID}", "{ARGON2ID}$", "{SSHA512}eA==", "{BLF-CRYPT}x", "{SHA256-CRYPT}", "{SSHA256}%",
	} {
		if ok, err := matches(stored, []byte("x")); ok || err == nil {
			t.Errorf("%s: %v, %v, want an error", stored, ok, err)
		}
	}
}

func TestFileChanges(t *testing.T) {
	synctest.Test(t, testFileChanges)
}

func testFileChanges(t *testing.T) {
	u, path, log := open(t, file)
	now := func() {
		u.Refresh()
		time.Sleep(settled)
		u.Refresh()
	}
	if now(); u.Revision() != 0 {
		t.Error("a file that has not changed is read again")
	}
	if err := Add(path, domains, "Hugo@example.org", "h-pass"); err != nil {
		t.Fatal(err)
	}
	now()
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "hugo", "h-pass"); err != nil {
		t.Errorf("hugo cannot log in: %v", err)
	}
	if err := Add(path, domains, "hugo", "x"); !errors.Is(err, ErrExists) {
		t.Errorf("a second hugo: %v", err)
	}
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "a"); err != nil {
		t.Errorf("alice cannot log in: %v", err)
	}
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "bob", "a"); !errors.Is(err, ErrInvalid) {
		t.Errorf("bob with alice's password, which was just checked: %v", err)
	}
	if err := SetPassword(path, domains, "alice@example.org", "new"); err != nil {
		t.Fatal(err)
	}
	now()
	if _, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "a"); !errors.Is(err, ErrInvalid) {
		t.Errorf("alice's old password: %v", err)
	}
	alice, err := u.Authenticate(context.Background(), netip.Addr{}, "alice", "new")
	if err != nil || alice.Home != "/home/alice" || alice.UID != 1000 {
		t.Errorf("alice lost fields: %+v, %v", alice, err)
	}
	if err := Remove(path, domains, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path, domains, "bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("bob twice: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{"# the users\n", "\nbroken line\n", ":userdb_x=y\n", "dave@example.org:{ROT13}x\n"} {
		if !strings.Contains(string(text), keep) {
			t.Errorf("the file lost %q:\n%s", keep, text)
		}
	}
	if strings.Contains(string(text), "\nBob:") { // a hash may contain "Bob"
		t.Errorf("bob is still there:\n%s", text)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now()
	if _, ok := u.Lookup("alice"); !ok || !strings.Contains(log.String(), "keeping the users already known") {
		t.Errorf("without the file alice is known: %v; log:\n%s", ok, log)
	}
}

// TestHalfWrittenFile: a file is loaded when it has not changed for a while, however it is
// written. Until then, the known users remain.
func TestHalfWrittenFile(t *testing.T) {
	const before, half, whole = "alice:{PLAIN}a\nbob:{PLAIN}b\n", "alice:{PLAIN}a\n", "alice:{PLAIN}a\nbob:{PLAIN}b\ncarol:{PLAIN}c\n"
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		begin  func(t *testing.T, path string) // writes half of it
		pause  time.Duration                   // of the writer
		finish string
		within time.Duration // after the last change
	}{
		"in place": {func(t *testing.T, path string) { write(t, path, half) }, settled - 1, whole, settled},
		"emptied":  {func(t *testing.T, path string) { write(t, path, "") }, settled - 1, whole, settled},
		"removed before": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, half)
		}, settled - 1, whole, settled},
		"with the times of another clock": {func(t *testing.T, path string) {
			write(t, path, half)
			if err := os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		}, settled - 1, whole, settled},
		"slowly, in blocks": {func(t *testing.T, path string) { write(t, path, half+"bob:{PLA") }, settledUnended - 1, whole, settled},
		"without a last line end": {func(t *testing.T, path string) { write(t, path, half) }, settled - 1,
			strings.TrimSuffix(whole, "\n"), settledUnended},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, path, _ := open(t, before)
				look := func(during time.Duration, want int) {
					t.Helper()
					const every = settled / 4
					u.Refresh()
					for ; during > 0; during -= every {
						time.Sleep(min(during, every))
						u.Refresh()
					}
					if got := len(u.All()); got != want {
						t.Fatalf("%d users, want %d", got, want)
					}
				}
				c.begin(t, path)
				look(c.pause, 2)
				write(t, path, c.finish)
				look(c.within-1, 2)
				look(1, 3)
			})
		})
	}
}

func TestConcurrentEdits(t *testing.T) {
	u, path, _ := open(t, "")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if err := Add(path, domains, fmt.Sprintf("user%d@example.org", i), "pw"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := u.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := len(u.All()); got != 6 {
		t.Errorf("%d users, want 6", got)
	}
}

func TestCancelled(t *testing.T) {
	u, _, _ := open(t, file)
	for range cap(u.check.slots) {
		u.check.slots <- struct{}{} // all busy
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := u.Authenticate(ctx, netip.Addr{}, "alice", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error, got %v", err)
	}
}

func TestBadNames(t *testing.T) {
	_, path, _ := open(t, "")
	for _, name := range []string{"", "@", "a@", "@b", "a@b@c", "a/b@c", "..@c", "a:b@c", "a b@c", "a\nb@c", "a%n@c", "a\xffb@c", "a\u00a0b@c", strings.Repeat("x", 300) + "@c"} {
		if err := Add(path, domains, name, "pw"); err == nil {
			t.Errorf("added a user %q", name)
		}
	}
}

// TestSetPasswordSCRAM: after a change of the password, the old one is no longer valid, even if
// its SCRAM keys are stored beside its hash.
func TestSetPasswordSCRAM(t *testing.T) {
	keys, err := hashSCRAM([]byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users")
	for _, field := range []string{fieldSCRAM, strings.Replace(fieldSCRAM, "=", ":protected=", 1)} {
		testSetPasswordSCRAM(t, path, "alice@example.org:{PLAIN}old::::::userdb_quota_rule:protected=*:storage=1G "+field+keys+" x=y\n")
	}
}

func testSetPasswordSCRAM(t *testing.T, path, line string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	domains := []string{"example.org"}
	if err := SetPassword(path, domains, "alice@example.org", "new"); err != nil {
		t.Fatal(err)
	}
	users, err := OpenUsers(path, domains, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "::::::userdb_quota_rule:protected=*:storage=1G "+fieldSCRAM) || !strings.HasSuffix(string(text), " x=y\n") {
		t.Errorf("the rest of the line was changed: %s", text)
	}
	for password, want := range map[string]bool{"old": false, "new": true} {
		stored := users.SCRAM("alice@example.org")
		got, err := scramKeys(password, stored.KeyFactors)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got.StoredKey, stored.StoredKey) != want {
			t.Errorf("SCRAM with the %s password proves it: %v", password, !want)
		}
	}
}

// TestProblemsShowNoPassword: messages about unusable lines appear in the log and on terminals,
// so they must not contain a password.
func TestProblemsShowNoPassword(t *testing.T) {
	for _, line := range []string{
		"alice {PLAIN}secret", "alice;{PLAIN}secret", "alice|secret", "alice@example.org/secret", "alice:secret", "alice:{PLAIN secret", "alice:{PLAIN}x:secret",
		"alice:{PLAIN}x:1:secret", "alice:{SECRET}", "alice:PLAIN}secret", "alice:$6secret", "alice:{PLAIN}x:::::scram_sha_256=secret",
		"alice:{PLAIN}x::::::scram_sha_256=secret", "alice:{SCRAM-SHA-256}secret", "alice:{ARGON2ID}secret", "alice:{PLAIN}x::::::user=secret",
	} {
		table, problems := parse([]byte(line), domains)
		if len(table.entries) == 0 && len(problems) != 1 {
			t.Errorf("%s: %v", line, problems)
		}
		for _, p := range problems {
			if strings.Contains(p.text, "secret") {
				t.Errorf("%s: %s", line, p.text)
			}
		}
	}
}
