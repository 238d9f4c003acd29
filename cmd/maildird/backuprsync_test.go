package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// TestBackupRsync: scripts/backup-rsync, with the real sh and rsync, keeps as
// many snapshots as told in both places, the same in both; sends a message
// once; and takes up a transfer that was cut off, which never counts as a
// snapshot.
func TestBackupRsync(t *testing.T) {
	top, err := rig.Dir("cron")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	binary, err := rig.Build(top, false)
	if err != nil {
		t.Fatal(err)
	}
	dir, config := newServer(t)
	users := []string{"alice@example.org", "bob@example.org"}
	for i, user := range users {
		good(t, "secret\n", "user", "add", "--config", config, user)
		home := filepath.Join(dir, "mail", "example.org", strings.Split(user, "@")[0])
		for _, sub := range []string{"cur", "new", "tmp", ".Sent Items/cur"} {
			if err := os.MkdirAll(filepath.Join(home, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			name := filepath.Join(home, "cur", fmt.Sprintf("%d.%d:2,S", n, i))
			if err := os.WriteFile(name, []byte("Subject: x\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	snapshots, remote := filepath.Join(top, "snap shots"), filepath.Join(top, "far away")
	script := func(env ...string) (string, error) {
		cmd := exec.Command("../../scripts/backup-rsync", "-k", "2", config, snapshots, remote)
		cmd.Env = append(append(os.Environ(), "MAILDIRD="+binary), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for range 4 {
		if out, err := script(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, user := range users {
		here, there := snapshotNames(t, snapshots, user), snapshotNames(t, remote, user)
		if len(here) != 2 || !slices.Equal(here, there) {
			t.Errorf("%s: snapshots %q here, %q there, want the same 2", user, here, there)
		}
		for _, name := range there {
			mustExist(t, filepath.Join(remote, user, name+".complete"))
		}
		diff := exec.Command("diff", "-r", filepath.Join(snapshots, user, "latest")+"/", filepath.Join(remote, user, "latest")+"/")
		if out, err := diff.CombinedOutput(); err != nil {
			t.Errorf("%s: the copy differs: %v\n%s", user, err, out)
		}
		a, errA := os.Stat(filepath.Join(remote, user, there[0], "cur", "7."+fmt.Sprint(slices.Index(users, user))+":2,S"))
		b, errB := os.Stat(filepath.Join(remote, user, there[1], "cur", "7."+fmt.Sprint(slices.Index(users, user))+":2,S"))
		if errA != nil || errB != nil || !os.SameFile(a, b) {
			t.Errorf("%s: a message takes space twice: %v, %v", user, errA, errB)
		}
	}

	// An rsync that is cut off while it sends alice's next snapshot.
	before, err := os.Readlink(filepath.Join(remote, users[0], "latest"))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(top, "cut")
	if err := os.WriteFile(cut, []byte("#!/bin/sh\ncase \"$*\" in *--link-dest*alice*) rsync \"$@\" --exclude=dovecot-uidlist; exit 12;; esac\nexec rsync \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := script("RSYNC=" + cut)
	if code := exitStatus(err); code != 1 || !strings.Contains(out, "alice@example.org: 2") || !strings.Contains(out, "was not copied") {
		t.Errorf("cut off: %v\n%s", err, out)
	}
	newest := snapshotNames(t, snapshots, users[0])[1]
	if now, err := os.Readlink(filepath.Join(remote, users[0], "latest")); err != nil || now != before {
		t.Errorf("after a transfer that was cut off, latest leads to %q, %v", now, err)
	}
	if _, err := os.Stat(filepath.Join(remote, users[0], newest+".complete")); err == nil {
		t.Error("a transfer that was cut off counts as a snapshot")
	}
	if out, err := script(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustExist(t, filepath.Join(remote, users[0], newest+".complete"))
	mustExist(t, filepath.Join(remote, users[0], newest, "dovecot-uidlist"))

	// Another run that is at work.
	if err := os.WriteFile(filepath.Join(snapshots, ".backup-rsync.pid"), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := script(); exitStatus(err) != 1 || !strings.Contains(out, "another run is at work") {
		t.Errorf("two runs: %v\n%s", err, out)
	}
}

func exitStatus(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -1
}

func mustExist(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// snapshotNames lists a user's snapshots, oldest first.
func snapshotNames(t *testing.T, dir, user string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, user))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
