// Package confine takes from this process what a running server does not need:
// privileges, files, the network. An attacker who exploits a fault can then reach
// little more than what the server serves. This applies to every thread and cannot
// be undone.
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

// forOwners are the capabilities of a process that works on the files of
// several system users: to give what it makes to them (CHOWN), to reach what is
// theirs (DAC_OVERRIDE), to set modes and times of it (FOWNER), and set-group-ID
// on their directories (FSETID).
var forOwners = []cap.Value{cap.CHOWN, cap.DAC_OVERRIDE, cap.FOWNER, cap.FSETID}

// Privileges gives up all capabilities but those with which root acts for the
// owners of files, and keeps programs that this process starts from gaining any
// (no_new_privs).
func Privileges() error {
	have := cap.GetProc()
	keep := cap.NewSet()
	if os.Geteuid() == 0 {
		for _, v := range forOwners {
			if ok, err := have.GetFlag(cap.Permitted, v); err != nil || !ok {
				continue // a container may have taken it
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

// Access is the files that remain within reach. A directory stands for
// everything below it. Those that do not exist are left out.
type Access struct {
	Read   []string // files and directories
	Write  []string // directories, for all that can be done with files
	Remove []string // directories from which names can be removed
	// Connect lets TCP connections be opened, to any port; Ports lets them be opened to
	// these.
	Connect bool
	Ports   []uint16
}

// Files puts all files out of reach but those of a, if the kernel has Landlock. From
// version 4 on it also forbids new TCP listeners, and TCP connections to ports other
// than a.Ports, unless a.Connect is set; MPTCP is not covered by Landlock. It returns
// the kernel's Landlock version. That is 0, and nothing is confined, without Landlock
// and with version 1, which forbids every rename from one directory to another, and
// so deliveries.
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
		// Every right that is taken elsewhere, even that to control devices, of which it
		// can make none: at each link or move into another directory the kernel goes up
		// from both until it meets all of them, or else to the root of the file system.
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
	// Version 5 is files and TCP. Later ones also take signals away, and whether
	// the process that holds a lock file lives is asked by one.
	return version, landlock.V5.BestEffort().Restrict(rules...)
}

// spellings returns the paths that exist, and where their symbolic links lead.
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

// System is what Go's own library reads.
func System() []string {
	return []string{"/etc/localtime", "/usr/share/zoneinfo", "/proc", "/dev/null"}
}

// Servers is what Go's and the system's libraries read to find a server by name
// and to trust it.
func Servers() []string {
	return []string{
		"/etc/resolv.conf", "/run/systemd/resolve", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
		"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		"/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/lib64",
	}
}
