package backup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// events reports which names were added and removed in the watched directories, and which
// files were written to. The kernel queues an event before the change that it reports returns
// to its caller, so once the queue was read empty, all earlier changes are known. Package
// maildir/watch, which serves mailboxes that wait, provides no such moment.
type events struct {
	fd   int
	read func(fd int, buf []byte) (int, error) // unix.Read, except in tests
	dirs map[int32]*state
	buf  []byte
	// halves are the directories that a name was moved out of, by the kernel's number of the
	// move, until an event says where the name went.
	halves map[uint32]*state
}

// newEvents returns nil if the kernel provides no events, or none for what other machines
// do on root's file system.
func newEvents(root *dirfd.Dir) *events {
	if root.Shared() {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil
	}
	return &events{fd: fd, read: unix.Read, dirs: map[int32]*state{}, buf: make([]byte, 64<<10), halves: map[uint32]*state{}}
}

func (e *events) close() {
	if e != nil {
		_ = unix.Close(e.fd)
	}
}

// watch starts recording in st what changes in a directory, and no longer what changes in the
// one that st was for, and reports whether that is possible.
func (e *events) watch(d *dirfd.Dir, st *state) bool {
	e.unwatch(st)
	if e == nil {
		return false
	}
	const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_ONLYDIR
	wd, err := unix.InotifyAddWatch(e.fd, fmt.Sprintf("/proc/self/fd/%d", d.Fd()), mask)
	if err != nil {
		return false
	}
	st.wd = int32(wd)
	if other := e.dirs[st.wd]; other != nil {
		// The same directory, which was moved or is mounted twice: only one gets its events.
		other.watched, other.listed = false, false
	}
	e.dirs[st.wd] = st
	return true
}

// unwatch stops recording in st.
func (e *events) unwatch(st *state) {
	st.watched, st.listed = false, false
	if e != nil && e.dirs[st.wd] == st {
		delete(e.dirs, st.wd)
		_, _ = unix.InotifyRmWatch(e.fd, uint32(st.wd))
	}
}

// drain records all changes up to now.
func (e *events) drain() error {
	if e == nil {
		return nil
	}
	for {
		n, err := e.read(e.fd, e.buf)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("read file-system events: %w", err)
		}
		for rest := e.buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(rest))
			mask := binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Mask):])
			cookie := binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Cookie):])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[unsafe.Offsetof(unix.InotifyEvent{}.Len):]))
			name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:end], []byte{0})
			rest = rest[end:]
			e.note(wd, mask, cookie, string(name))
		}
	}
}

func (e *events) note(wd int32, mask, cookie uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for _, st := range e.dirs {
			st.listed, st.lost = false, true
		}
		clear(e.halves)
		return
	}
	st := e.dirs[wd]
	switch {
	case mask&unix.IN_MOVED_TO != 0:
		delete(e.halves, cookie)
	case mask&unix.IN_MOVED_FROM != 0 && st != nil:
		e.halves[cookie] = st
	}
	switch {
	case st == nil:
	case mask&unix.IN_IGNORED != 0:
		delete(e.dirs, wd)
		st.watched, st.listed = false, false
	case name == "" || name[0] == '.':
	case mask&unix.IN_MODIFY != 0:
		if !st.copies {
			return // a hard link has all that is written
		}
		if st.written == nil {
			st.written = map[string]struct{}{}
		}
		st.written[name] = struct{}{}
	default:
		if st.news == nil {
			st.news = map[string]bool{}
		}
		st.news[name] = mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0
	}
}

// takeHalves returns the directories of the moves of which only half is known, and forgets
// these moves.
func (e *events) takeHalves() map[*state]bool {
	if e == nil || len(e.halves) == 0 {
		return nil
	}
	dirs := map[*state]bool{}
	for _, st := range e.halves {
		dirs[st] = true
	}
	clear(e.halves)
	return dirs
}
