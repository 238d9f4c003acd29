// Package intercept lets a test decide about the system calls with which a program uses
// files: each is made, fails, or is made in part. The kernel asks the test before each call of
// any thread (seccomp_unotify(2)), so that the calls of the whole program can be counted, which
// strace cannot do.
//
//	trap := intercept.New()
//	program, err := trap.Program(binary, dir) // start this one instead
//	trap.Below(mail, func(c intercept.Call) intercept.Action { ... })
//
// What is started is a copy of the test's binary, which sends the test the kernel's descriptor
// for its calls and then becomes the program. TestMain must therefore begin with Launch.
package intercept

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls that the kernel asks about, by number.
var calls = map[int]struct {
	name string
	// names is how many names of files it takes, each after the descriptor of its directory;
	// 0: its first argument is the descriptor of the file.
	names int
}{
	unix.SYS_READ: {"read", 0}, unix.SYS_PREAD64: {"pread", 0},
	unix.SYS_WRITE: {"write", 0}, unix.SYS_PWRITE64: {"pwrite", 0}, unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 0},
	unix.SYS_FSYNC: {"fsync", 0}, unix.SYS_FDATASYNC: {"fdatasync", 0},
	unix.SYS_FCHMOD: {"fchmod", 0}, unix.SYS_GETDENTS64: {"getdents", 0},
	sysFchown: {"fchown", 0}, sysFstat: {"fstat", 0}, sysFtruncate: {"ftruncate", 0}, sysLseek: {"lseek", 0},
	unix.SYS_OPENAT: {"openat", 1}, sysFstatat: {"fstatat", 1}, unix.SYS_STATX: {"statx", 1},
	unix.SYS_UNLINKAT: {"unlinkat", 1}, unix.SYS_MKDIRAT: {"mkdirat", 1}, unix.SYS_UTIMENSAT: {"utimensat", 1},
	unix.SYS_FCHMODAT: {"fchmodat", 1}, unix.SYS_FCHOWNAT: {"fchownat", 1},
	unix.SYS_RENAMEAT: {"renameat", 2}, unix.SYS_RENAMEAT2: {"renameat2", 2}, unix.SYS_LINKAT: {"linkat", 2},
}

// Call is a system call on a file.
type Call struct {
	Name string
	Path string // of the file, or of the first of two
	To   string // of the second, "" if there is none
	Size int    // of what is to be written, in octets
	// Thread is the thread that makes the call. It makes one at a time.
	Thread int

	args [6]uint64
}

func (c Call) String() string { return strings.TrimSpace(c.Name + " " + c.Path + " " + c.To) }

// Action says what happens to a call. By default it is made.
type Action struct {
	// Errno, if not 0, is the error of the call, which is not made.
	Errno unix.Errno
	// Half: a write writes the first half only, which is no error.
	Half bool
	// Hang: the call does not return. A signal makes the thread try it again (SA_RESTART).
	Hang bool
}

// Interceptor decides about the calls of programs. It is safe for concurrent use.
type Interceptor struct {
	listener *net.UnixListener

	mu    sync.Mutex
	below map[string]func(Call) Action
	hung  []func() // makes the calls that hang
	err   error
}

// New returns an Interceptor that lets all calls pass.
func New() *Interceptor { return &Interceptor{below: map[string]func(Call) Action{}} }

// Below makes f decide about the calls on files below a directory; if f is nil, all pass. f is
// called for one call at a time.
func (i *Interceptor) Below(dir string, f func(Call) Action) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f == nil {
		delete(i.below, dir)
	} else {
		i.below[dir] = f
	}
}

// Resume makes the calls that hang. The programs must be running.
func (i *Interceptor) Resume() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, resume := range i.hung {
		resume()
	}
	i.hung = nil
}

// Close stops accepting programs. It returns the errors of the Interceptor itself.
func (i *Interceptor) Close() error {
	if i.listener != nil {
		_ = i.listener.Close()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

func (i *Interceptor) accept(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		fd, err := receive(conn)
		_ = conn.Close()
		if err != nil {
			i.failed(err)
			continue
		}
		go i.serve(fd)
	}
}

func (i *Interceptor) failed(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = errors.Join(i.err, err)
}

// receive receives a descriptor.
func receive(conn *net.UnixConn) (int, error) {
	buf, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(buf, rights)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		return 0, err
	}
	if len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return 0, errors.New("a program was started, but sent no descriptor")
}

// As in linux/seccomp.h.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	response struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
)

const (
	notifyReceive = 0xc0502100
	notifySend    = 0xc0182101
	goOn          = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

func (i *Interceptor) serve(fd int) {
	defer unix.Close(fd)
	for {
		n := notification{}
		switch errno := ioctl(fd, notifyReceive, unsafe.Pointer(&n)); errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.ENOENT: // the thread is gone, or all are
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(poll, 0); err == nil && poll[0].Revents&unix.POLLHUP != 0 {
				return
			}
			continue
		default:
			i.failed(fmt.Errorf("seccomp: %w", errno))
			return
		}
		r := response{id: n.id, flags: goOn}
		answer := func() { _ = ioctl(fd, notifySend, unsafe.Pointer(&r)) } // it fails if the thread is gone
		if i.decide(&n, &r, answer) {
			answer()
		}
	}
}

func ioctl(fd int, request uintptr, p unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
	return errno
}

// decide fills in the answer to the kernel, and reports whether it is due. If the call hangs,
// answer gives it later.
func (i *Interceptor) decide(n *notification, r *response, answer func()) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.below) == 0 {
		return true
	}
	c := i.describe(n)
	for dir, f := range i.below {
		if !within(c.Path, dir) && !within(c.To, dir) {
			continue
		}
		a := f(c)
		switch {
		case a.Errno != 0:
			r.flags, r.error = 0, -int32(a.Errno)
		case a.Half && c.Size > 1:
			if err := c.half(); err != nil {
				i.err = errors.Join(i.err, err)
				return true
			}
			r.flags, r.val = 0, int64(c.Size/2)
		}
		if a.Hang {
			i.hung = append(i.hung, answer)
		}
		return !a.Hang
	}
	return true
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func (i *Interceptor) describe(n *notification) Call {
	kind := calls[int(n.nr)]
	c := Call{Name: kind.name, Thread: int(n.pid), args: n.args}
	switch {
	case kind.names == 0:
		c.Path = c.file(0)
	case kind.names == 1:
		c.Path = c.at(0)
	default:
		c.Path, c.To = c.at(0), c.at(2)
	}
	if c.Name == "write" || c.Name == "pwrite" {
		c.Size = int(n.args[2])
	}
	return c
}

// file returns the path of the descriptor that is argument n.
func (c *Call) file(n int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.Thread, int32(c.args[n])))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// at returns the path of the name that is argument n+1, in the directory that is argument n. A
// name in the working directory stays as it is: maildird uses none.
func (c *Call) at(n int) string {
	name := c.text(c.args[n+1])
	if filepath.IsAbs(name) || int32(c.args[n]) == unix.AT_FDCWD {
		return name
	}
	return filepath.Join(c.file(n), name)
}

const page = 4096

// text returns the NUL-terminated string at an address of the program. It reads to the end of a
// page at a time, because the next one may not exist.
func (c *Call) text(at uint64) string {
	var text []byte
	for buf := make([]byte, page); len(text) < page && at != 0; {
		n, err := c.read(at, buf[:page-at%page])
		if err != nil {
			break
		}
		if end := bytes.IndexByte(buf[:n], 0); end >= 0 {
			return string(append(text, buf[:end]...))
		}
		text = append(text, buf[:n]...)
		at += uint64(n)
	}
	return string(text)
}

// read reads the memory of the program into b.
func (c *Call) read(at uint64, b []byte) (int, error) {
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(len(b))
	return unix.ProcessVMReadv(c.Thread, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
}

// half writes the first half of a write.
func (c *Call) half() error {
	data := make([]byte, c.Size/2)
	if _, err := c.read(c.args[1], data); err != nil {
		return err
	}
	leader, err := processOf(c.Thread)
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(leader, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(int32(c.args[0])), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if c.Name == "pwrite" {
		_, err = unix.Pwrite(fd, data, c.offset())
	} else {
		_, err = unix.Write(fd, data)
	}
	return err
}

// processOf returns the process of a thread.
func processOf(thread int) (pid int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\nTgid:")
	_, err = fmt.Sscan(after, &pid)
	return pid, err
}
