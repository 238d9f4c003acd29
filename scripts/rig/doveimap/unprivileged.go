package doveimap

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// Unprivileged reports whether the calling test should continue in this process. If this
// process runs as root, it runs that test in another process, as the servers' user, and
// returns false. All files that the test makes then belong to the servers' user from the
// beginning, so that a server may find a file that is just being made. The working directory
// is the directory for temporary files.
func Unprivileged(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 || rig.Self().UID == 0 {
		return true
	}
	// That user may not have access to the program's file, but a running program
	// can be run again.
	args := []string{"-test.run=^" + t.Name() + "$"}
	for _, arg := range os.Args[1:] {
		if !strings.HasPrefix(arg, "-test.run=") && !strings.HasPrefix(arg, "-test.testlogfile=") && !strings.HasPrefix(arg, "-test.gocoverdir=") && !strings.HasPrefix(arg, "-test.coverprofile=") {
			args = append(args, arg)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	rig.Prepare(cmd, os.TempDir())
	cmd.Dir = os.TempDir()
	runtime.LockOSThread() // the child is killed when the thread that started it ends
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if t.Log(string(out)); err != nil {
		t.Errorf("as user %s: %v", rig.Self().Name, err)
	}
	return false
}
