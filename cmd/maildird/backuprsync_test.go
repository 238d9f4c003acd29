package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// backupUsers are the users whose mail backupScript copies.
var backupUsers = []string{"alice@example.org", "bob@example.org"}

// backupScript is scripts/backup-rsync, with the real sh and rsync, and the two places in which
// it keeps two snapshots of each user.
type backupScript struct{ top, binary, config, snapshots, remote string }

func newBackupScript(t *testing.T) *backupScript {
	t.Helper()
	top, err := rig.Dir("cron")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	binary, err := rig.Build(top, false)
	if err != nil {
		t.Fatal(err)
	}
	dir, config := newServer(t)
	for i, user := range backupUsers {
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
	return &backupScript{top, binary, config, filepath.Join(top, "snap shots"), filepath.Join(top, "far away")}
}

func (b *backupScript) run(env ...string) (string, error) {
	cmd := exec.Command("../../scripts/backup-rsync", "-k", "2", b.config, b.snapshots, b.remote)
	cmd.Env = append(append(os.Environ(), "MAILDIRD="+b.binary), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestBackupRsync: the script keeps the configured number of snapshots in both places, with the
// same contents; it sends a message once; it resumes an interrupted transfer, which never
// counts as a snapshot; and it does not run twice at the same time.
func TestBackupRsync(t *testing.T) {
	b := newBackupScript(t)
	for range 4 {
		if out, err := b.run(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for i, user := range backupUsers {
		t.Run("kept for "+user, func(t *testing.T) { b.sameInBoth(t, user, fmt.Sprintf("7.%d:2,S", i)) })
	}
	t.Run("cut off", b.cutOff)
	t.Run("clock set back", b.clockBack)
	t.Run("two at a time", b.twice)
	t.Run("left by a run that was killed", b.leftLock)
}

// TestBackupRsyncKeepsSome: no number of snapshots to keep is taken for none.
func TestBackupRsyncKeepsSome(t *testing.T) {
	for _, keep := range []string{"", "0", "00", "-1", "x"} {
		dir := filepath.Join(t.TempDir(), "snapshots")
		out, err := exec.Command("../../scripts/backup-rsync", "-k", keep, "config", dir, "remote").CombinedOutput()
		if exitStatus(err) != 2 || !strings.Contains(string(out), "-k needs a number greater than 0") {
			t.Errorf("-k %q: %v\n%s", keep, err, out)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("-k %q: something was done", keep)
		}
	}
}

// sameInBoth checks the snapshots of a user who has a message of that name in cur/.
func (b *backupScript) sameInBoth(t *testing.T, user, message string) {
	here, there := snapshotNames(t, b.snapshots, user), snapshotNames(t, b.remote, user)
	if len(here) != 2 || !slices.Equal(here, there) {
		t.Errorf("%s: snapshots %q here, %q there, want the same 2", user, here, there)
	}
	for _, name := range there {
		mustExist(t, filepath.Join(b.remote, user, name+".complete"))
	}
	diff := exec.Command("diff", "-r", filepath.Join(b.snapshots, user, "latest")+"/", filepath.Join(b.remote, user, "latest")+"/")
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("%s: the copy differs: %v\n%s", user, err, out)
	}
	first, errFirst := os.Stat(filepath.Join(b.remote, user, there[0], "cur", message))
	second, errSecond := os.Stat(filepath.Join(b.remote, user, there[1], "cur", message))
	if errFirst != nil || errSecond != nil || !os.SameFile(first, second) {
		t.Errorf("%s: a message takes space twice: %v, %v", user, errFirst, errSecond)
	}
}

// cutOff interrupts rsync while it sends alice's next snapshot.
func (b *backupScript) cutOff(t *testing.T) {
	before, err := os.Readlink(filepath.Join(b.remote, backupUsers[0], "latest"))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(b.top, "cut")
	if err := os.WriteFile(cut, []byte("#!/bin/sh\ncase \"$*\" in *--link-dest*alice*) rsync \"$@\" --exclude=dovecot-uidlist; exit 12;; esac\nexec rsync \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := b.run("RSYNC=" + cut)
	if code := exitStatus(err); code != 1 || !strings.Contains(out, "alice@example.org: 2") || !strings.Contains(out, "was not copied") {
		t.Errorf("cut off: %v\n%s", err, out)
	}
	newest := snapshotNames(t, b.snapshots, backupUsers[0])[1]
	if now, err := os.Readlink(filepath.Join(b.remote, backupUsers[0], "latest")); err != nil || now != before {
		t.Errorf("after a transfer that was cut off, latest leads to %q, %v", now, err)
	}
	if _, err := os.Stat(filepath.Join(b.remote, backupUsers[0], newest+".complete")); err == nil {
		t.Error("a transfer that was cut off counts as a snapshot")
	}
	if out, err := b.run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustExist(t, filepath.Join(b.remote, backupUsers[0], newest+".complete"))
	mustExist(t, filepath.Join(b.remote, backupUsers[0], newest, "dovecot-uidlist"))
}

// clockBack makes the existing snapshots appear to come from a clock that was ahead: those of
// the current clock must be kept, and not be regarded as the oldest.
func (b *backupScript) clockBack(t *testing.T) {
	user := backupUsers[1]
	for i, name := range snapshotNames(t, b.snapshots, user) {
		if err := os.Rename(filepath.Join(b.snapshots, user, name), filepath.Join(b.snapshots, user, fmt.Sprintf("2099010%dT030000Z", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(filepath.Dir(b.config), "mail", "example.org", "bob")
	if err := os.WriteFile(filepath.Join(home, "cur", "later:2,"), []byte("Subject: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := b.run()
	if err != nil || !strings.Contains(out, "clock is behind") {
		t.Errorf("%v\n%s", err, out)
	}
	mustExist(t, filepath.Join(b.snapshots, user, "latest", "cur", "later:2,"))
	b.sameInBoth(t, user, "7.1:2,S")
	mustExist(t, filepath.Join(b.remote, user, "latest", "cur", "later:2,"))
}

// twice runs the script while another run is in progress, and after it has ended.
func (b *backupScript) twice(t *testing.T) {
	other := exec.Command("flock", filepath.Join(b.snapshots, ".backup-rsync.lock"), "sh", "-c", "echo; cat")
	end, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if out, err := b.run(); exitStatus(err) != 1 || !strings.Contains(out, "another run is in progress") {
		t.Errorf("two runs: %v\n%s", err, out)
	}
	if err := errors.Join(end.Close(), other.Wait()); err != nil {
		t.Fatal(err)
	}
	if out, err := b.run(); err != nil {
		t.Errorf("after the other run: %v\n%s", err, out)
	}
}

// leftLock: what a run that was killed has left behind does not stop the next one, even if its
// process number has become that of another program.
func (b *backupScript) leftLock(t *testing.T) {
	for _, name := range []string{".backup-rsync.pid", ".backup-rsync.lock"} {
		if err := os.WriteFile(filepath.Join(b.snapshots, name), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := b.run(); err != nil {
		t.Errorf("%v\n%s", err, out)
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

// snapshotNames returns a user's snapshots, oldest first.
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
