package doveimap

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"maildird/scripts/rig"
)

// lda is Dovecot's delivery program.
const lda = "/usr/lib/dovecot/dovecot-lda"

// Deliver makes Dovecot's delivery agent deliver a message to a mailbox of the Maildir at root,
// for which Start was called.
func Deliver(root, mailbox, text string) error {
	return program(root, text, lda, "-f", "sender@example.org", "-m", mailbox)
}

// Admin runs a doveadm command on the Maildir at root, for which Start was called.
func Admin(root string, args ...string) error { return program(root, "", "doveadm", args...) }

func program(root, input, name string, args ...string) error {
	home := filepath.Dir(root)
	cmd := exec.Command(name, append([]string{"-c", filepath.Join(home, "dovecot.conf")}, args...)...)
	rig.Prepare(cmd, home)
	cmd.SysProcAttr.Pdeathsig = 0 // see Start
	cmd.Dir, cmd.Stdin = home, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
