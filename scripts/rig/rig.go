// Package rig starts real mail servers and real mail clients on loopback, each
// in a directory of its own, for the end-to-end tests and the benchmark.
//
// If the caller is root, servers and clients run as an unprivileged user: Dovecot refuses to
// serve mail as root, and root would not get the permission errors that tests expect.
// Everything that a rig starts ends with the context or test that started it.
//
// rig.go has what all programs share. maildird.go, dovecot.go, postfix.go and thunderbird.go
// start one each; thunderbird.js has what a person does in Thunderbird. sender.go is a client of
// SMTP and LMTP, and port.go finds free ports. The packages below:
//
//   - doveimap: one process of Dovecot's IMAP server over its standard input and output
//   - marionette: the remote control of Thunderbird
//   - intercept: decides about each system call of a program
//   - failing: makes calls of package dirfd fail
//   - leaks: fails tests that leave goroutines behind
package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Identity is the user that servers and clients run as.
type Identity struct {
	Name, Group string
	UID, GID    int
	switched    bool // whether it differs from the user of this process
}

// Self returns the identity for servers: the user of this process or, if that is
// root, the user nobody.
var Self = sync.OnceValue(func() Identity {
	uid, gid := os.Getuid(), os.Getgid()
	switched := false
	if uid == 0 {
		if u, err := user.Lookup("nobody"); err == nil {
			uid, _ = strconv.Atoi(u.Uid)
			gid, _ = strconv.Atoi(u.Gid)
			switched = true
		}
	}
	id := Identity{UID: uid, GID: gid, Name: strconv.Itoa(uid), Group: strconv.Itoa(gid), switched: switched}
	if u, err := user.LookupId(id.Name); err == nil {
		id.Name = u.Username
	}
	if g, err := user.LookupGroupId(id.Group); err == nil {
		id.Group = g.Name
	}
	return id
})

// Own makes the servers' user the owner of path and everything below it, as if a user's own
// programs had made the files. It does nothing for an unprivileged caller.
func Own(path string) error {
	id := Self()
	if !id.switched {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		// A change without effect would still update the change time.
		if st, err := os.Lstat(p); err == nil && st.Sys().(*syscall.Stat_t).Uid == uint32(id.UID) && st.Sys().(*syscall.Stat_t).Gid == uint32(id.GID) {
			return nil
		}
		if err := os.Lchown(p, id.UID, id.GID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// OwnDirs makes the servers' user the owner of path and of the files and directories directly
// in it, but not of anything further down.
func OwnDirs(path string) error {
	id := Self()
	if !id.switched {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Lchown(filepath.Join(path, e.Name()), id.UID, id.GID); err != nil {
			return err
		}
	}
	return os.Lchown(path, id.UID, id.GID)
}

// Dir creates a directory for a server. Its path is short, because the path of a Unix socket is
// limited to 107 bytes. The caller removes it.
func Dir(prefix string) (string, error) {
	dir, err := os.MkdirTemp(os.TempDir(), prefix)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	return dir, Own(dir)
}

// RemoveAll is like os.RemoveAll, for a directory in which programs that were told to end may
// still create files for a moment.
func RemoveAll(path string) error {
	for end := time.Now().Add(settleLimit); ; time.Sleep(20 * time.Millisecond) {
		err := os.RemoveAll(path)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// How long programs may take on a slow and busy machine.
const (
	startLimit  = 2 * time.Minute // for a server to start, and for maildird to stop
	settleLimit = 2 * time.Minute // for ended programs to stop writing to their directory
)

// Prepare makes cmd run as the rig's user, with home as its home directory, in its own process
// group. It is killed when this process ends.
func Prepare(cmd *exec.Cmd, home string) {
	id := Self()
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if id.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), NoSetGroups: false}
	}
	cmd.SysProcAttr = attr
	cmd.Env = append(os.Environ(), "HOME="+home, "USER="+id.Name, "LOGNAME="+id.Name, "LC_ALL=C.UTF-8", "TMPDIR="+os.TempDir())
	cmd.WaitDelay = 5 * time.Second
}

// Process is a running program.
type Process struct {
	*exec.Cmd
	done chan struct{}
	err  error
}

// Start starts cmd, which was prepared by Prepare.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{Cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop sends SIGTERM, waits at most grace until the process has ended, kills the rest of its
// process group, and returns the result of Wait.
func (p *Process) Stop(grace time.Duration) error {
	_ = p.Process.Signal(syscall.SIGTERM)
	return p.await(grace)
}

// Kill kills the process with SIGKILL, which simulates a crash.
func (p *Process) Kill() error {
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	return p.await(5 * time.Second)
}

func (p *Process) await(grace time.Duration) error {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	late := false
	select {
	case <-p.done:
	case <-timer.C:
		late = true
	}
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.done
	if late {
		return fmt.Errorf("%s did not end within %s of SIGTERM", filepath.Base(p.Path), grace)
	}
	return p.err
}

// WaitTCP waits until address accepts connections or the process ends.
func (p *Process) WaitTCP(address string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it accepted connections: %w", filepath.Base(p.Path), p.err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not accept connections at %s: %w", filepath.Base(p.Path), address, err)
		}
	}
}
