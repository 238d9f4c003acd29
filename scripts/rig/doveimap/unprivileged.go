package doveimap

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// Unprivileged has the test that calls it run once more, by itself and as the servers'
// user, if this process is root's. It tells whether the test is to go on in this one.
// What such a test makes belongs to the servers' user at any moment, so that a server
// may meet files in the middle of being made. Its working directory is that for
// temporary files.
func Unprivileged(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 || rig.Self().UID == 0 {
		return true
	}
	// The program may lie where that user cannot go; what runs can be run again.
	args := []string{"-test.run=^" + t.Name() + "$"}
	for _, arg := range os.Args[1:] {
		if !strings.HasPrefix(arg, "-test.run=") && !strings.HasPrefix(arg, "-test.testlogfile=") && !strings.HasPrefix(arg, "-test.gocoverdir=") && !strings.HasPrefix(arg, "-test.coverprofile=") {
			args = append(args, arg)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	rig.Prepare(cmd, os.TempDir())
	cmd.Dir = os.TempDir()
	runtime.LockOSThread() // whose end would kill it
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if t.Log(string(out)); err != nil {
		t.Errorf("as user %s: %v", rig.Self().Name, err)
	}
	return false
}
