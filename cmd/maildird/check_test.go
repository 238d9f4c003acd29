package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckCommand: the exit code and the output report what is wrong, what was repaired, and
// what could not be checked.
func TestCheckCommand(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org")
	if out := good(t, "", "check", "--config", config); !strings.Contains(out, "alice@example.org: no mail yet") {
		t.Errorf("without a Maildir: %q", out)
	}
	home := filepath.Join(dir, "mail", "example.org", "alice")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if out := good(t, "", "check", "--config", config); !strings.Contains(out, "alice@example.org: no mail yet") {
		t.Errorf("an empty directory: %q", out)
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out := good(t, "", "check", "--config", config, "alice"); out != "alice@example.org: 0 messages in 1 folder: 0 findings, 0 repaired\n" {
		t.Errorf("an empty Maildir: %q", out)
	}
	if err := os.WriteFile(filepath.Join(home, "cur", "1.a,S=7:2,"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := run("", "check", "--config", config)
	if err == nil || exitCode(err) != 1 || !strings.Contains(out, "alice@example.org: INBOX: cur/1.a,S=7:2,: its name says 7 bytes but it has 2") {
		t.Errorf("a finding: exit code %d, %v, %q", exitCode(err), err, out)
	}
	bad(t, "left to do: 1 finding", "", "check", "--repair", "--config", config) // a program may be writing it
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(home, "cur", "1.a,S=7:2,"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	if out := good(t, "", "check", "--repair", "--config", config); !strings.Contains(out, "; repaired: renamed it to cur/1.a,S=2,W=3:2,\n") {
		t.Errorf("the repair: %q", out)
	}
	for _, args := range [][]string{{"check", "--config", config, "nobody@example.org"}, {"check", "--config", config + ".missing"}, {"check", "--confg", config}} {
		if _, _, err := run("", args...); err == nil || exitCode(err) != 2 {
			t.Errorf("%q: exit code %d, %v", args, exitCode(err), err)
		}
	}
}

// TestBackupCommand checks what a user sees of backup and restore.
func TestBackupCommand(t *testing.T) {
	dir, config := newServer(t)
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org")
	good(t, "secret\n", "user", "add", "--config", config, "bob@example.org")
	home := filepath.Join(dir, "mail", "example.org", "alice")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "cur", "1.a:2,S"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "snapshots")
	out := good(t, "", "backup", "--config", config, dest)
	if !strings.Contains(out, "alice@example.org: 1 message in 1 folder (1 linked") || !strings.Contains(out, "bob@example.org: no mail yet") {
		t.Errorf("backup: %q", out)
	}
	if _, err := os.Stat(filepath.Join(dest, "alice@example.org", "latest", "cur", "1.a:2,S")); err != nil {
		t.Error(err)
	}
	bad(t, "no such user: carol", "", "backup", "--config", config, dest, "--user", "carol")
	before, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{home, filepath.Join(home, "snapshots")} {
		bad(t, "lies in the Maildir of alice@example.org", "", "backup", "--config", config, in)
		bad(t, "lies in the Maildir of alice@example.org", "", "backup", "--config", config, in, "--user", "bob")
	}
	if names, err := os.ReadDir(home); err != nil || len(names) != len(before) {
		t.Errorf("a refused backup left something in the Maildir: %v, %v", names, err)
	}
	bad(t, "DEST is missing", "", "backup", "--config", config)

	copied := filepath.Join(dest, "alice@example.org", "latest") + "/"
	if err := os.WriteFile(filepath.Join(copied, "cur", "1.a:2,"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := good(t, "", "restore", "--dry-run", copied); !strings.Contains(out, "dry run: ") || !strings.Contains(out, "removed cur/1.a:2,S, an older name of the same message") {
		t.Errorf("dry run: %q", out)
	}
	if out := good(t, "", "restore", copied); !strings.Contains(out, "second names removed: 1") {
		t.Errorf("restore: %q", out)
	}
	misused(t, "give the path of a Maildir", "restore")
	bad(t, "is not a Maildir", "", "restore", t.TempDir())
	// The parent directory of Maildirs is refused as a Maildir.
	if err := os.WriteFile(filepath.Join(copied, "cur", "1.a:2,F"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad(t, "name each Maildir separately", "", "restore", dest)
	if names, err := os.ReadDir(filepath.Join(copied, "cur")); err != nil || len(names) != 2 {
		t.Errorf("restore of what is not a Maildir changed one in it: %v, %v", names, err)
	}
	if _, errOut, err := run("", "restore", "--dry-run", "--config", config); err != nil || !strings.Contains(errOut, "bob@example.org: no mail yet") {
		t.Errorf("restore of one without mail: %v, %q", err, errOut)
	}
}

// TestBackupUnread: a backup without a message that cannot be read fails, but is made.
func TestBackupUnread(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	dir, config := newServer(t)
	good(t, "secret\n", "user", "add", "--config", config, "alice@example.org")
	cur := filepath.Join(dir, "mail", "example.org", "alice", "cur")
	private, dest := filepath.Join(cur, "2.b:2,S"), filepath.Join(t.TempDir(), "snapshots")
	err := errors.Join(os.MkdirAll(cur, 0o700), os.Chown(cur, 54321, 54321),
		os.WriteFile(filepath.Join(cur, "1.a:2,S"), nil, 0o600), os.WriteFile(private, nil, 0o600), os.Chown(private, 54322, 54322))
	if err != nil {
		t.Fatal(err)
	}
	bad(t, "the snapshot of alice@example.org lacks files that cannot be read", "", "backup", "--config", config, dest)
	if _, err := os.Stat(filepath.Join(dest, "alice@example.org", "latest", "cur", "1.a:2,S")); err != nil {
		t.Error(err)
	}
}
