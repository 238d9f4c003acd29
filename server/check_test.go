package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/auth"
	"maildird/server/config"
)

// TestFileModes: files with secrets that everybody can read, and others that everybody can change,
// are doubts, unless they are in a directory that is closed to others.
func TestFileModes(t *testing.T) {
	closed, err := os.MkdirTemp("/var/tmp", "modes") // a directory above TMPDIR may be closed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(closed) })
	dir := filepath.Join(closed, "settings")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	set := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &config.Config{Path: filepath.Join(dir, "maildird.toml")}
	cfg.TLS.Key, cfg.Auth.Users, cfg.Auth.Aliases = filepath.Join(dir, "key.pem"), filepath.Join(dir, "users"), filepath.Join(dir, "aliases")
	modes := func(all os.FileMode) {
		for _, path := range []string{cfg.Path, cfg.TLS.Key, cfg.Auth.Users, cfg.Auth.Aliases} {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			set(path, all)
		}
	}
	check := func(want ...string) {
		t.Helper()
		got := checkModes(cfg)
		if len(got) != len(want) {
			t.Errorf("%q, want %q", got, want)
			return
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%q, want %q", got[i], want[i])
			}
		}
	}
	modes(0o644)
	set(closed, 0o700)
	check()
	set(closed, 0o755)
	check("key.pem contains secrets and can be read", "users contains secrets and can be read")
	cfg.Relay = &config.Relay{Password: "secret"}
	check("maildird.toml contains secrets", "key.pem contains secrets", "users contains secrets")
	modes(0o640)
	check()
	modes(0o606)
	check("maildird.toml can be changed", "key.pem can be changed", "users can be changed", "aliases can be changed")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("key.pem", link); err != nil {
		t.Fatal(err)
	}
	modes(0o600)
	set(cfg.TLS.Key, 0o604)
	cfg.TLS.Key = link
	check("link contains secrets and can be read")
}

// TestControlElsewhere: a Maildir whose UIDs Dovecot seems to keep elsewhere is a doubt.
func TestControlElsewhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "maildird.toml")
	text := config.Template("mail.example.org", "example.org", "alice@example.org")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	mail := filepath.Join(dir, "mail/example.org/alice")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(mail, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(mail, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(doubted bool) {
		t.Helper()
		wrong, doubts := checkMail(cfg, []auth.User{{Name: "alice@example.org", UID: -1, GID: -1}})
		if len(wrong) > 0 || (len(doubts) == 1 && strings.Contains(doubts[0], "CONTROL=")) != doubted {
			t.Errorf("%q, %q, want a doubt: %t", wrong, doubts, doubted)
		}
	}
	check(false)
	put("dovecot.index.log")
	check(true)
	put("dovecot-uidlist")
	check(false)
}
