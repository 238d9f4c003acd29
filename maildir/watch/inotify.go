package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// inotify is the kernel's queue of events, see inotify(7). Go's poller would be woken for
// each event, even while nobody is about to read it, and that costs more than the event.
// Therefore it polls an epoll(7) instance, which watches the queue and reports one event
// for each call of wait.
type inotify struct {
	epoll *os.File
	conn  syscall.RawConn // of epoll

	mu     sync.RWMutex // held for writing to close fd
	closed bool
	fd     int

	buf [64 << 10]byte // for read
}

// watchOf is the kernel's number of a watch. The kernel does not reuse it before 2^31
// others.
type watchOf int32

// named are the changes of names in a directory. Asking for nothing else, such as changes
// of a file's content, saves newer kernels a walk through all names of the directory, and a
// check of its watches whenever one of its files is used.
const named = unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF

var errOverflow = errors.New("the kernel's queue of inotify events was full")

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	in := &inotify{fd: fd}
	if err := in.openEpoll(); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return in, nil
}

func (in *inotify) openEpoll() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, in.fd, &unix.EpollEvent{Events: unix.EPOLLONESHOT})
	if err == nil {
		err = unix.SetNonblock(ep, true) // os.NewFile then registers it with the poller
	}
	if err != nil {
		_ = unix.Close(ep)
		return os.NewSyscallError("epoll_ctl", err)
	}
	in.epoll = os.NewFile(uintptr(ep), "epoll")
	in.conn, err = in.epoll.SyscallConn()
	return err
}

// add watches the file of an open descriptor. Events that happen before it returns may also
// be read before it returns.
func (in *inotify) add(fd int, mask uint32) (watchOf, error) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed {
		return 0, os.ErrClosed
	}
	wd, err := unix.InotifyAddWatch(in.fd, "/proc/self/fd/"+strconv.Itoa(fd), mask)
	return watchOf(wd), os.NewSyscallError("inotify_add_watch", err)
}

// remove ends a watch. Earlier events may still be read.
func (in *inotify) remove(wd watchOf) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if !in.closed {
		// On an error, the kernel has already dropped the watch, as it does when the
		// directory is removed.
		_, _ = unix.InotifyRmWatch(in.fd, uint32(wd))
	}
}

// wait waits for events; it returns false after stop. Once it has returned, events wake
// nobody until the next call. It must be used by one goroutine only.
func (in *inotify) wait() bool {
	asked := false
	err := in.conn.Read(func(ep uintptr) bool {
		if !asked {
			_ = unix.EpollCtl(int(ep), unix.EPOLL_CTL_MOD, in.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT})
			asked = true
		}
		return ready(int(ep))
	})
	return err == nil
}

// ready reports whether an epoll instance has an event, and consumes it.
func ready(ep int) bool {
	for {
		var came [1]unix.EpollEvent
		if n, err := unix.EpollWait(ep, came[:], 0); err != unix.EINTR {
			return n > 0
		}
	}
}

// empty reports whether no event is waiting to be read.
func (in *inotify) empty() bool {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed {
		return false
	}
	n, err := unix.IoctlGetInt(in.fd, unix.TIOCINQ) // FIONREAD, see inotify(7)
	return err == nil && n == 0
}

// stop ends wait.
func (in *inotify) stop() error { return in.epoll.Close() }

// close is called after wait has ended for good.
func (in *inotify) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.closed = true
		_ = unix.Close(in.fd)
	}
}

// kernelEvent is one event in the kernel's terms.
type kernelEvent struct {
	wd   watchOf // -1 if mask is IN_Q_OVERFLOW
	mask uint32
	name []byte // "" if it happened to the watched directory or file itself
}

// read returns the waiting events, as many as fit into buf. Each is valid for one
// iteration. It must be used by one goroutine only.
func (in *inotify) read() (iter.Seq[kernelEvent], error) {
	n, err := unix.Read(in.fd, in.buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		n, err = 0, nil
	}
	return parse(in.buf[:max(n, 0)]), os.NewSyscallError("read of inotify", err)
}

func parse(buf []byte) iter.Seq[kernelEvent] {
	return func(yield func(kernelEvent) bool) {
		for len(buf) >= unix.SizeofInotifyEvent {
			ev := kernelEvent{wd: watchOf(binary.NativeEndian.Uint32(buf)), mask: binary.NativeEndian.Uint32(buf[4:])}
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
			ev.name = buf[unix.SizeofInotifyEvent:end]
			if i := bytes.IndexByte(ev.name, 0); i >= 0 {
				ev.name = ev.name[:i]
			}
			if buf = buf[end:]; !yield(ev) {
				return
			}
		}
	}
}
