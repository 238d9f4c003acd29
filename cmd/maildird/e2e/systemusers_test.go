package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"maildird/scripts/rig"
)

// The user IDs of the system users in these tests.
const aliceID, bobID = 54321, 54322

// TestSystemUsers: as root, maildird creates for each user files that only that user
// can access, keeps users from reading the files of others, and has given up all
// other capabilities of root.
func TestSystemUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can serve system users")
	}
	m := setUp(t, "mail/%d/%n", "%h/Maildir")
	m.AsRoot = true
	makeSystemUsers(t, m)
	// Bob wants to read Alice's mail.
	if err := os.Symlink(filepath.Join(homeOf(m, "alice"), "Maildir"), filepath.Join(homeOf(m, "bob"), "Maildir")); err != nil {
		t.Fatal(err)
	}
	run(t, m)

	mail := useMaildir(t, m)
	readForeignFiles(t, m, mail)
	refuseForeignMaildir(t, m)
	lookAtOwners(t, m)
	lookAtCapabilities(t, m)
}

func homeOf(m *rig.Maildird, name string) string { return filepath.Join(m.Dir, "home", name) }

// makeSystemUsers creates the homes of alice and bob, who are system users in this test.
func makeSystemUsers(t *testing.T, m *rig.Maildird) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(m.Dir, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, uid := range map[string]int{"alice": aliceID, "bob": bobID} {
		if err := os.Mkdir(homeOf(m, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(homeOf(m, name), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	users := fmt.Sprintf("%s:{PLAIN}%s:%d:%d::%s::\n%s:{PLAIN}%s:%d:%d::%s::\n",
		alice, password, aliceID, aliceID, homeOf(m, "alice"), bob, password, bobID, bobID, homeOf(m, "bob"))
	if err := os.WriteFile(filepath.Join(m.Dir, "users"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
}

// useMaildir delivers mail to alice, and lets her session change everything that a client can
// change. It then has INBOX selected.
func useMaildir(t *testing.T, m *rig.Maildird) *speaker {
	t.Helper()
	in := speak(t, m, "lmtp", "220 ")
	in.say("LHLO x\r\n", "250 ")
	in.say("MAIL FROM:<>\r\n", "250 ")
	in.say(fmt.Sprintf("RCPT TO:<%s>\r\n", alice), "250 ")
	in.say("DATA\r\n", "354 ")
	in.say("Subject: x\r\n\r\nx\r\n.\r\n", "250 ")
	mail := speak(t, m, "imap", "* OK")
	mail.say(fmt.Sprintf("a LOGIN %s %q\r\n", alice, password), "a OK")
	for _, command := range []string{
		"SELECT INBOX", "STORE 1 +FLAGS (word)", "CREATE New/Deeper", "SUBSCRIBE New/Deeper", "COPY 1 New/Deeper", "MOVE 1 Trash", "RENAME New/Deeper Newer", "DELETE Archive",
	} {
		mail.say("b "+command+"\r\n", "b OK")
	}
	mail.say("c APPEND Sent {3+}\r\nx\r\n\r\n", "c OK")
	return mail
}

// readForeignFiles: a hard link in alice's mail to a file of root is not read, nor is a private
// file of bob that she could move there.
func readForeignFiles(t *testing.T, m *rig.Maildird, mail *speaker) {
	t.Helper()
	secret := filepath.Join(m.Dir, "home", "secret")
	if err := os.WriteFile(secret, []byte("Subject: secret\n\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".Sent"} {
		if err := os.Link(secret, filepath.Join(homeOf(m, "alice"), "Maildir", name, "cur", "1700000000.secret:2,")); err != nil {
			t.Fatal(err)
		}
	}
	moved := filepath.Join(homeOf(m, "alice"), "Maildir", ".Sent", "cur", "1700000001.secret:2,")
	if err := os.WriteFile(moved, []byte("Subject: secret\n\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(moved, bobID, bobID); err != nil {
		t.Fatal(err)
	}
	mail.say("d SELECT Sent\r\n", "d OK")
	if _, err := fmt.Fprint(mail.conn, "e FETCH 1:* BODY.PEEK[]\r\n"); err != nil {
		t.Fatal(err)
	}
	for line := ""; !strings.HasPrefix(line, "e "); {
		var err error
		if line, err = mail.lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "secret") {
			t.Errorf("FETCH gives %q", line)
		}
	}
}

// refuseForeignMaildir: bob's link to alice's Maildir is refused, and the log
// contains the reason.
func refuseForeignMaildir(t *testing.T, m *rig.Maildird) {
	t.Helper()
	other := speak(t, m, "imap", "* OK")
	other.say(fmt.Sprintf("a LOGIN %s %q\r\n", bob, password), "a NO [UNAVAILABLE] ")
	eventually(t, func() error {
		if !strings.Contains(m.Log(), fmt.Sprintf("belongs to the system user %d, not to %d", aliceID, bobID)) {
			return fmt.Errorf("the log does not say why bob's mail is not served:\n%s", m.Log())
		}
		return nil
	})
}

// lookAtOwners: everything in alice's Maildir belongs to her, and only she can access it.
func lookAtOwners(t *testing.T, m *rig.Maildird) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(homeOf(m, "alice"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || strings.Contains(path, ".secret") {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		files++
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != aliceID || sys.Gid != aliceID || st.Mode().Perm()&0o007 != 0 && e.Name() != "dovecot-uidvalidity" && st.Mode().Perm() != 0o444 {
			t.Errorf("%s belongs to %d:%d, %s", path, sys.Uid, sys.Gid, st.Mode())
		}
		return nil
	})
	if err != nil || files < 30 {
		t.Errorf("%d files in the Maildir, %v", files, err)
	}
}

// lookAtCapabilities: the server may change owners and override permissions, and nothing else
// that root may do.
func lookAtCapabilities(t *testing.T, m *rig.Maildird) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.Process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// CHOWN, DAC_OVERRIDE, FOWNER and FSETID are bits 0, 1, 3 and 4.
	for _, want := range []string{"CapPrm:\t000000000000001b", "CapEff:\t000000000000001b", "CapInh:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has not %q but %s", want, regexp.MustCompile("(?m)^(Cap|NoNew).*$").FindAllString(string(status), -1))
		}
	}
}

// TestSystemUserElsewhere: a home directory may be a symbolic link by root to another
// disk, even if it contains no Maildir yet. A link by the user leads to a place that
// the program cannot access.
func TestSystemUserElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can serve system users")
	}
	m := setUp(t, "mail/%d/%n", "%h/Maildir")
	m.AsRoot = true
	disk, err := rig.Dir("disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	// Not in the directory for temporary files, which is accessible anyway.
	t.Setenv("TMPDIR", m.Dir)
	if err := os.Mkdir(filepath.Join(m.Dir, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	users := ""
	for i, name := range []string{alice, bob} {
		id, real, home := 54321+i, filepath.Join(disk, name), filepath.Join(m.Dir, "home", name)
		if err := os.Mkdir(real, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(real, id, id); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, home); err != nil {
			t.Fatal(err)
		}
		users += fmt.Sprintf("%s:{PLAIN}%s:%d:%d::%s::\n", name, password, id, id, home)
	}
	if err := os.Lchown(filepath.Join(m.Dir, "home", bob), 54322, 54322); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "users"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, m)

	deliver(t, m, alice, "x", "x\r\n")
	mail := speak(t, m, "imap", "* OK")
	mail.say(fmt.Sprintf("a LOGIN %s %q\r\n", alice, password), "a OK")
	mail.say("b SELECT INBOX\r\n", "b OK")
	mail.say("c COPY 1 Sent\r\n", "c OK")
	if version, err := llsys.LandlockGetABIVersion(); err != nil || version < 2 {
		t.Logf("this kernel confines nothing (Landlock %d, %v)", version, err)
		return
	}
	other := speak(t, m, "imap", "* OK")
	other.say(fmt.Sprintf("a LOGIN %s %q\r\n", bob, password), "a NO [UNAVAILABLE] ")
}
