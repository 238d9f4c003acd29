package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/rig"
)

// fault is something that goes wrong.
type fault struct {
	name string
	// begin starts the fault for a cell; end ends it.
	begin func(c *cell) (end func() error, err error)
	// everybody: all users are affected, not only that of the cell.
	everybody bool
	// errors are the possible texts in the log.
	errors []string
	// advice must be in the log too: what the operator can do.
	advice string
	// long makes messages longer than a block.
	long bool
}

var full = []string{"no space left on device", "free space is below the reserve"}

// faults are all faults, with their names in the table.
var faults = []fault{
	{name: "disk full", begin: fillBlocks(0), errors: full, advice: "free space"},
	{name: "disk full in the middle of a message", begin: fillBlocks(4 << 12), long: true, errors: full, advice: "free space"},
	{name: "inode table full", begin: fillInodes, errors: full, advice: "free space"},
	{name: "read-only remount", begin: remountReadOnly, errors: []string{"read-only file system"}, advice: "remount"},
	{name: "no write permission", begin: denyWrites, errors: []string{"permission denied"}, advice: "owner"},
	{name: "EDQUOT from fsync", begin: inject("fsync,fdatasync", "EDQUOT"), everybody: true, errors: []string{"disk quota exceeded"}, advice: "quota"},
	{name: "EIO from fsync", begin: inject("fsync", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "EIO from fdatasync", begin: inject("fdatasync", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "EIO from rename", begin: inject("renameat,renameat2", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "EIO from link", begin: inject("linkat", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "EIO from unlink", begin: inject("unlinkat", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "EIO from read", begin: inject("pread64", "EIO"), everybody: true, errors: []string{"input/output error"}, advice: "dmesg"},
	{name: "cache full", begin: fillCache},
	{name: "no descriptors", begin: takeDescriptors, everybody: true, errors: []string{"too many open files"}, advice: "LimitNOFILE"},
}

func faultNamed(name string) *fault {
	for i := range faults {
		if faults[i].name == name {
			return &faults[i]
		}
	}
	return nil
}

// fillBlocks fills the file system except for some bytes.
func fillBlocks(free int64) func(c *cell) (func() error, error) {
	return func(c *cell) (func() error, error) { return fill(c.home, free) }
}

func fillCache(c *cell) (func() error, error) { return fill(filepath.Join(c.m.Dir, "cache"), 0) }

func fill(dir string, free int64) (func() error, error) {
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return nil, err
	}
	if free > 0 {
		st, err := f.Stat()
		if err == nil {
			err = f.Truncate(st.Size() - free)
		}
		if err != nil {
			return nil, err
		}
	}
	return func() error { return os.Remove(name) }, nil
}

func fillInodes(c *cell) (func() error, error) {
	dir := filepath.Join(c.home, "filler")
	err := os.Mkdir(dir, 0o700)
	for n := 0; err == nil; n++ {
		var f *os.File
		if f, err = os.Create(filepath.Join(dir, strconv.Itoa(n))); err == nil {
			f.Close()
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		return nil, err
	}
	return func() error { return os.RemoveAll(dir) }, nil
}

func remountReadOnly(c *cell) (func() error, error) {
	err := until(func() error { return unix.Mount("", c.home, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }) // EBUSY while a file is open for writing
	return func() error { return unix.Mount("", c.home, "", unix.MS_REMOUNT, "") }, err
}

// denyWrites removes write permission from all directories of the Maildir.
func denyWrites(c *cell) (func() error, error) {
	mode := func(mode fs.FileMode) error {
		return filepath.WalkDir(c.home, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return err
			}
			return os.Chmod(path, mode)
		})
	}
	return func() error { return mode(0o700) }, mode(0o500)
}

// inject makes system calls of the program fail. strace attaches to the threads that exist when
// it looks, and to those that they create afterwards. A thread that is created meanwhile by one
// that is not attached yet escapes; then strace is started again.
func inject(calls, errno string) func(c *cell) (func() error, error) {
	return func(c *cell) (func() error, error) {
		deadline := time.Now().Add(patience)
		for limit := time.Second; ; limit *= 2 {
			end, err := trace(c.m.Process.Process.Pid, limit, "trace="+calls, "inject="+calls+":error="+errno)
			if err == nil || !errors.Is(err, errEscaped) || time.Now().After(deadline) {
				return end, err
			}
		}
	}
}

// errEscaped means that a thread is not traced.
var errEscaped = errors.New("a thread is not traced")

// trace attaches strace to all threads of a process within a time limit, and returns a
// function that detaches it.
func trace(pid int, limit time.Duration, expressions ...string) (end func() error, err error) {
	args := []string{"-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(pid)}
	for _, e := range expressions {
		args = append(args, "-e", e)
	}
	cmd := exec.Command("strace", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	tracer, err := rig.Start(cmd)
	if err != nil {
		return nil, err
	}
	end = func() error {
		_ = tracer.Process.Signal(unix.SIGINT) // strace detaches from all threads and ends
		select {
		case <-tracer.Done():
			return nil
		case <-time.After(patience):
			return errors.Join(errors.New("strace does not let go of the program"), tracer.Kill())
		}
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-tracer.Done():
			return nil, fmt.Errorf("strace cannot trace the program: %s", said.String())
		default:
		}
		if err = allTraced(pid); err == nil {
			err = allTraced(pid) // an untraced thread may have created another one during the first look
		}
		if err == nil {
			return end, nil
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(err, end())
		}
	}
}

// allTraced returns an error unless all threads of a process have a tracer.
func allTraced(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return fmt.Errorf("threads of process %d: %d, %w", pid, len(threads), err)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), "\nTracerPid:\t0\n") {
			return fmt.Errorf("%w: %s", errEscaped, name)
		}
	}
	return nil
}

// takeDescriptors lets the program keep only the descriptors that it has.
func takeDescriptors(c *cell) (func() error, error) {
	pid := c.m.Process.Process.Pid
	// Run a program as the same user, because root is not always allowed to (CAP_SYS_RESOURCE).
	limit := func(args ...string) (string, error) {
		cmd := exec.Command("prlimit", append(args, "--pid", strconv.Itoa(pid))...)
		rig.Prepare(cmd, c.m.Dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("prlimit: %w: %s", err, out)
		}
		return strings.TrimSpace(string(out)), nil
	}
	before, err := limit("--raw", "--noheadings", "--output", "SOFT", "--nofile")
	if err != nil {
		return nil, err
	}
	end := func() error {
		select {
		case <-c.m.Done():
			return nil
		default:
		}
		_, err := limit("--nofile=" + before + ":")
		return err
	}
	// Numbers up to 2 are always in use, and descriptors above the limit stay open.
	_, err = limit("--nofile=3:")
	return end, err
}
