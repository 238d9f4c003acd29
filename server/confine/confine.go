// Package confine takes away from this process what a running server does not need: privileges,
// files, network access. An attacker who exploits a bug can then reach little more than what
// the server serves. It applies to all threads and cannot be undone.
package confine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// forOwners are the capabilities of a process that works on the files of several system users:
// to give them the files that it creates (CHOWN), to access their files (DAC_OVERRIDE), to set
// modes and times of those (FOWNER), and to keep set-group-ID on their directories (FSETID).
var forOwners = []cap.Value{cap.CHOWN, cap.DAC_OVERRIDE, cap.FOWNER, cap.FSETID}

// Privileges drops all capabilities except those with which root acts for the owners of files,
// and prevents programs that this process starts from gaining any (no_new_privs).
func Privileges() error {
	have := cap.GetProc()
	keep := cap.NewSet()
	if os.Geteuid() == 0 {
		for _, v := range forOwners {
			if ok, err := have.GetFlag(cap.Permitted, v); err != nil || !ok {
				continue // a container may not have it
			}
			if err := errors.Join(keep.SetFlag(cap.Permitted, true, v), keep.SetFlag(cap.Effective, true, v)); err != nil {
				return err
			}
		}
	}
	if err := keep.SetProc(); err != nil {
		return err
	}
	_, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	return err
}

// Access is the files that remain accessible. A directory includes everything below it. Paths
// that do not exist are ignored.
type Access struct {
	Read   []string // files and directories
	Write  []string // directories, with every file operation
	Remove []string // directories whose files can be removed
	// Connect allows TCP connections to all ports, Ports those to the given ones.
	Connect bool
	Ports   []uint16
}

// Files makes all files inaccessible except those of a, if the kernel has Landlock. From
// Landlock version 4 on, it also forbids new TCP listeners, and TCP connections to ports other
// than a.Ports, unless a.Connect is set; Landlock does not cover MPTCP. It returns the
// Landlock version of the kernel. Without Landlock the version is 0 and nothing is confined;
// the same holds for Landlock version 1, which forbids every rename from one directory to
// another, and thereby deliveries.
func Files(a Access) (version int, err error) {
	version, err = llsys.LandlockGetABIVersion()
	if err != nil || version < 2 {
		return 0, nil
	}
	var rules []landlock.Rule
	for _, path := range spellings(a.Read) {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else if err == nil {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	for _, path := range spellings(a.Write) {
		// Grant every right that is restricted elsewhere, even that to control devices, which
		// cannot be created here anyway: at each link or rename into another directory, the
		// kernel walks up from both directories until it has found all rights, or else to the
		// root of the file system.
		rules = append(rules, landlock.RWDirs(path).WithRefer().WithIoctlDev())
	}
	for _, path := range spellings(a.Remove) {
		rules = append(rules, landlock.PathAccess(llsys.AccessFSRemoveFile, path))
	}
	if a.Connect {
		return version, landlock.V3.BestEffort().RestrictPaths(rules...)
	}
	for _, port := range a.Ports {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	// Version 5 restricts files and TCP. Later versions also restrict signals, one of which is
	// used to find out whether the process that holds a lock file is alive.
	return version, landlock.V5.BestEffort().Restrict(rules...)
}

// spellings returns the paths that exist, and what they resolve to.
func spellings(paths []string) []string {
	var out []string
	for _, p := range paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		out = append(out, p)
		if real, err := filepath.EvalSymlinks(p); err == nil {
			out = append(out, real)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// System returns the files that Go's standard library reads.
func System() []string {
	return []string{"/etc/localtime", "/usr/share/zoneinfo", "/proc", "/dev/null"}
}

// Servers returns the files that Go's and the system's libraries read to resolve the name of a
// server and to verify its certificate.
func Servers() []string {
	return []string{
		"/etc/resolv.conf", "/run/systemd/resolve", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
		"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		"/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/lib64",
	}
}
