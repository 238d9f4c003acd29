package intercept

import (
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

// calls are those that the kernel asks about: the name, and which arguments are a
// directory and the name of a file in it, or else a descriptor.
var calls = map[int]struct {
	name    string
	at      bool // arguments 0 and 1
	another bool // arguments 2 and 3 too
}{
	unix.SYS_WRITE: {name: "write"}, unix.SYS_PWRITE64: {name: "pwrite"},
	unix.SYS_READ: {name: "read"}, unix.SYS_PREAD64: {name: "pread"},
	unix.SYS_FSYNC: {name: "fsync"}, unix.SYS_FDATASYNC: {name: "fdatasync"},
	unix.SYS_FTRUNCATE: {name: "ftruncate"}, unix.SYS_FSTAT: {name: "fstat"}, unix.SYS_LSEEK: {name: "lseek"},
	unix.SYS_GETDENTS64: {name: "getdents"}, unix.SYS_FCHMOD: {name: "fchmod"}, unix.SYS_FCHOWN: {name: "fchown"},
	unix.SYS_COPY_FILE_RANGE: {name: "copy_file_range"},
	unix.SYS_OPENAT:          {name: "openat", at: true}, unix.SYS_NEWFSTATAT: {name: "fstatat", at: true}, unix.SYS_STATX: {name: "statx", at: true},
	unix.SYS_UNLINKAT: {name: "unlinkat", at: true}, unix.SYS_MKDIRAT: {name: "mkdirat", at: true}, unix.SYS_UTIMENSAT: {name: "utimensat", at: true},
	unix.SYS_FCHMODAT: {name: "fchmodat", at: true}, unix.SYS_FCHOWNAT: {name: "fchownat", at: true},
	unix.SYS_RENAMEAT: {name: "renameat", at: true, another: true}, unix.SYS_RENAMEAT2: {name: "renameat2", at: true, another: true},
	unix.SYS_LINKAT: {name: "linkat", at: true, another: true},
}

// Call is a system call on a file.
type Call struct {
	Name string
	Path string // of the file, or of the first one
	To   string // of the second one
	Size int    // octets to be written

	thread int
	args   [6]uint64
}

func (c Call) String() string { return strings.TrimSpace(c.Name + " " + c.Path + " " + c.To) }

// Action is what becomes of a call.
type Action struct {
	Errno unix.Errno // not 0: it fails so, and is not made
	// Half has a write do the first half only, which is no error.
	Half bool
}

// Interceptor decides about calls of programs. Safe for concurrent use.
type Interceptor struct {
	listener *net.UnixListener

	mu    sync.Mutex
	below map[string]func(Call) Action
	err   error
}

// New returns one that lets all calls pass.
func New() *Interceptor { return &Interceptor{below: map[string]func(Call) Action{}} }

// Below has f decide about the calls on files below a directory; nil: all pass. f is
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

// Close takes no more programs. It gives what went wrong.
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

// receive takes a descriptor.
func receive(conn *net.UnixConn) (int, error) {
	buf, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(buf, rights)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("no descriptor came: %w", err)
	}
	return fds[0], nil
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
		i.decide(&n, &r)
		_ = ioctl(fd, notifySend, unsafe.Pointer(&r)) // it fails if the thread is gone
	}
}

func ioctl(fd int, request uintptr, p unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
	return errno
}

// decide fills in the answer.
func (i *Interceptor) decide(n *notification, r *response) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.below) == 0 {
		return
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
			if err := half(&c); err != nil {
				i.err = errors.Join(i.err, err)
				return
			}
			r.flags, r.val = 0, int64(c.Size/2)
		}
		return
	}
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func (i *Interceptor) describe(n *notification) Call {
	kind := calls[int(n.nr)]
	c := Call{Name: kind.name, thread: int(n.pid), args: n.args}
	switch {
	case kind.another:
		c.To = c.at(2)
		fallthrough
	case kind.at:
		c.Path = c.at(0)
	default:
		c.Path = c.file(0)
	}
	if c.Name == "write" || c.Name == "pwrite" {
		c.Size = int(n.args[2])
	}
	return c
}

// file is the path of a descriptor.
func (c *Call) file(n int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.thread, int32(c.args[n])))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// at is the path of a name in a directory.
func (c *Call) at(n int) string {
	name := c.text(c.args[n+1])
	switch {
	case filepath.IsAbs(name):
		return name
	case int32(c.args[n]) == unix.AT_FDCWD:
		return name // of no interest
	}
	return filepath.Join(c.file(n), name)
}

// text is a string of the program.
func (c *Call) text(at uint64) string {
	buf := make([]byte, 4096)
	// Not beyond the page, behind which there may be none.
	var text []byte
	for len(text) < len(buf) && at != 0 {
		part := buf[:4096-at%4096]
		k, err := unix.ProcessVMReadv(c.thread, []unix.Iovec{{Base: &part[0], Len: uint64(len(part))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(part)}}, 0)
		if err != nil {
			break
		}
		if end := strings.IndexByte(string(part[:k]), 0); end >= 0 {
			return string(append(text, part[:end]...))
		}
		text = append(text, part[:k]...)
		at += uint64(k)
	}
	return string(text)
}

// half does the first half of a write.
func half(c *Call) error {
	data := make([]byte, c.Size/2)
	if _, err := unix.ProcessVMReadv(c.thread, []unix.Iovec{{Base: &data[0], Len: uint64(len(data))}}, []unix.RemoteIovec{{Base: uintptr(c.args[1]), Len: len(data)}}, 0); err != nil {
		return err
	}
	leader, err := processOf(c.thread)
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
		_, err = unix.Pwrite(fd, data, int64(c.args[3]))
	} else {
		_, err = unix.Write(fd, data)
	}
	return err
}

// processOf is the process of a thread.
func processOf(thread int) (pid int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\nTgid:")
	_, err = fmt.Sscan(after, &pid)
	return pid, err
}
