package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestoreOthers: a user whose Maildir has no location, or cannot be accessed, does not keep
// the others from being restored, and the exit code reports the problem.
func TestRestoreOthers(t *testing.T) {
	dir, config := newServer(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	homes := strings.Replace(string(text), `"mail/%d/%n"`, `"%h/Maildir"`, 1)
	if homes == string(text) {
		t.Fatalf("no location in\n%s", text)
	}
	if err := os.WriteFile(config, []byte(homes), 0o600); err != nil {
		t.Fatal(err)
	}
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org") // without a home
	users, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := strings.Cut(strings.TrimSpace(string(users)), ":")
	hash, _, _ = strings.Cut(hash, ":")
	long := "/" + strings.Repeat("x", 300)
	for _, line := range []string{"bob@example.org:" + hash + "::::" + dir + "/bob::\n", "carol@example.org:" + hash + "::::" + long + "::\n"} {
		users = append(users, line...)
	}
	if err := os.WriteFile(filepath.Join(dir, "users"), users, 0o600); err != nil {
		t.Fatal(err)
	}
	cur := filepath.Join(dir, "bob", "Maildir", "cur")
	if err := os.MkdirAll(cur, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.a:2,", "1.a:2,S"} {
		if err := os.WriteFile(filepath.Join(cur, name), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := run("", "restore", "--config", config)
	if !strings.Contains(out, "bob@example.org: 1 folder; second names removed: 1") {
		t.Errorf("bob: %q", out)
	}
	for _, want := range []string{`user "alice@example.org" has no home directory`, "carol@example.org: stat " + long} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestUserLeftOut: a user with an unusable line in the users file is an error of the commands
// that work on all Maildirs, but does not keep them from processing the others.
func TestUserLeftOut(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org")
	home := filepath.Join(dir, "mail", "example.org", "alice")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	users := filepath.Join(dir, "users")
	text, err := os.ReadFile(users)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "bob@example.org:{PLAIN}x::::::userdb_mail=maildir:/srv/bob\ncarol@example.org:{ROT13}x\n"...)
	if err := os.WriteFile(users, text, 0o600); err != nil {
		t.Fatal(err)
	}
	snapshots := filepath.Join(t.TempDir(), "snapshots")
	for _, c := range []struct {
		args []string
		user string // flag that names a user
		code int
	}{
		{[]string{"backup", "--config", config, snapshots}, "--user", 1},
		{[]string{"check", "--config", config}, "", 2},
		{[]string{"restore", "--config", config}, "--user", 1},
	} {
		out, _, err := run("", c.args...)
		if !strings.Contains(out, "alice@example.org: ") || err == nil || exitCode(err) != c.code || !strings.Contains(err.Error(), "userdb_mail") || strings.Contains(err.Error(), "carol") {
			t.Errorf("%s: exit code %d, %v, %q", c.args[0], exitCode(err), err, out)
		}
		of := func(user string) []string {
			if c.user != "" {
				return append(c.args, c.user, user)
			}
			return append(c.args, user)
		}
		good(t, "", of("alice@example.org")...)
		good(t, "", of("carol@example.org")...) // who cannot log in, but has mail
		if _, _, err := run("", of("bob@example.org")...); err == nil || exitCode(err) != c.code || !strings.Contains(err.Error(), "userdb_mail") {
			t.Errorf("%s of bob: exit code %d, %v", c.args[0], exitCode(err), err)
		}
	}
}
