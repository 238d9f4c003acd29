package dirfd

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// disks are the file systems that this process has used, by device number. Threads belong to the
// process, and so do their limits.
var disks = struct {
	mu     sync.Mutex
	known  map[uint64]*Places
	mounts mounts
	read   time.Time // when mounts was read
}{known: map[uint64]*Places{}}

// diskOf returns the disk with a device number.
func diskOf(dev uint64) *Places {
	disks.mu.Lock()
	defer disks.mu.Unlock()
	k := disks.known[dev]
	if k == nil {
		k = newDisk(dev)
		disks.known[dev] = k
	}
	return k
}

// mounts are the device numbers of mounted file systems by mount point. They are read from /proc
// since stat of a mount point asks the file system itself.
type mounts map[string]uint64

// mountsAge is how old what is known of the mounts may be. If it is wrong, a call counts for a
// neighbouring disk.
const mountsAge = time.Second

func currentMounts() mounts {
	disks.mu.Lock()
	defer disks.mu.Unlock()
	if now := time.Now(); disks.mounts == nil || now.Sub(disks.read) >= mountsAge {
		text, _ := os.ReadFile("/proc/self/mountinfo") // without it, there is one disk for all paths
		disks.mounts, disks.read = parseMounts(string(text)), now
	}
	return disks.mounts
}

// parseMounts parses /proc/PID/mountinfo, see proc(5). Of several on one mount point, the last one
// is on top.
func parseMounts(text string) mounts {
	m := mounts{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		major, minor, _ := strings.Cut(fields[2], ":")
		a, errA := strconv.ParseUint(major, 10, 32)
		b, errB := strconv.ParseUint(minor, 10, 32)
		if errA == nil && errB == nil {
			m[unescape(fields[4])] = unix.Mkdev(uint32(a), uint32(b))
		}
	}
	return m
}

// unescape decodes a space, tab, newline or backslash, which are octal numbers in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// of returns the disk of a path without symbolic links.
func (m mounts) of(path string) *Places {
	for {
		dev, ok := m[path]
		if above := filepath.Dir(path); !ok && above != path {
			path = above
			continue
		}
		return diskOf(dev) // 0 if nothing is known
	}
}

// mostLinks is how many symbolic links the kernel follows in a path.
const mostLinks = 40

// diskAt returns the disk that a path, which need not exist, leads to. Wherever it stops because
// something cannot be examined, so does the kernel.
func diskAt(path string) (*Places, error) {
	m := currentMounts()
	real, links := "/", 0
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(real, name) // "" and "." stay there, ".." leads up: real has no links
		if _, mounted := m[next]; mounted || next == real || name == ".." {
			real = next
			continue
		}
		k := m.of(real)
		if err := k.Begin(); err != nil {
			return nil, &fs.PathError{Op: "resolve", Path: path, Err: err}
		}
		target, err := os.Readlink(next)
		k.Leave()
		if err != nil { // usually since it is no link
			real = next
			continue
		}
		if links++; links > mostLinks {
			break
		}
		if filepath.IsAbs(target) {
			real = "/"
		}
		rest = target + "/" + rest
	}
	return m.of(real), nil
}

// atPath makes system calls on what a path leads to, following symbolic links.
func atPath(path string, call func() error) error {
	k, err := diskAt(path)
	if err != nil {
		return err
	}
	if err := k.Begin(); err != nil {
		return &fs.PathError{Op: "examine", Path: path, Err: err}
	}
	defer k.Leave()
	return retry(call)
}

// LstatPath returns the attributes of a path that the operator chose, without following a symbolic
// link at its end.
func LstatPath(path string) (st Stat, err error) {
	var u unix.Stat_t
	if err := atPath(path, func() error { return unix.Lstat(path, &u) }); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fromUnix(&u), nil
}

// StatPath returns the attributes of what the directory's path leads to, following symbolic links:
// it may be another directory by now, on another disk than d, which may have been detached
// (umount -l) since it does not respond.
func (d *Dir) StatPath() (st Stat, err error) {
	var u unix.Stat_t
	if err := atPath(d.path, func() error { return unix.Stat(d.path, &u) }); err != nil {
		return Stat{}, d.failed("stat", "", err)
	}
	return fromUnix(&u), nil
}
