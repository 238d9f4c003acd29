package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// TestConfined: the running server can access the target of an operator's symbolic link, and
// can reload users, certificate and settings.
func TestConfined(t *testing.T) {
	m := setUp(t)
	disk, err := rig.Dir("disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	// Not in the directory for temporary files, which is accessible anyway.
	t.Setenv("TMPDIR", m.Dir)
	if err := os.MkdirAll(filepath.Dir(m.Home(bob)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(disk, m.Home(bob)); err != nil {
		t.Fatal(err)
	}
	if err := rig.Own(filepath.Join(m.Dir, "mail")); err != nil {
		t.Fatal(err)
	}
	run(t, m)
	for _, user := range []string{alice, bob} {
		c := speak(t, m, "imap", "* OK")
		c.say(fmt.Sprintf("a LOGIN %s %q\r\n", user, password), "a OK")
		c.say("b APPEND INBOX {3+}\r\nx\r\n\r\n", "b OK")
		c.say("c SELECT INBOX\r\n", "c OK")
		c.say("d COPY 1 Sent\r\n", "d OK")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.Process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has not %q:\n%s", want, status)
		}
	}
}
