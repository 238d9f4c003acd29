// Package dirfd accesses files through directory handles (openat and related calls), one
// path component at a time.
//
// A Maildir may belong to a hostile local user, who can put symbolic links, FIFOs or
// devices where a message or a folder is expected, and can swap directories while an
// operation is running. Nothing in this package follows a symbolic link, waits for a FIFO,
// or resolves more than one component below a handle, so an operation either acts inside
// the directory that was opened or fails.
//
// A disk may also stand still, above all one of a network: disk.go limits how many threads wait
// for it, so that it stops nobody who uses another one, and mounts.go tells which one a path is on.
//
// dirfd.go has directories and what is done with one name. open.go opens files and decides which
// ones may be opened, reader.go does that cheaply, only to read; file.go has open files, and
// rights.go gives what is created an owner and mode. whole.go creates or replaces a file with its
// content at once, list.go lists names, stat.go describes them, and remove.go removes trees.
// copying.go copies content and finds holes, sync.go makes changes durable, filesystem.go asks about
// the file system, and grain.go knows how coarse its times are.
package dirfd

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBadName means that a name is empty, "." or "..", or contains a slash or a NUL.
var ErrBadName = errors.New("not a single file name")

// Dir is an open directory. All methods may be called concurrently; after Close they fail
// with fs.ErrClosed.
type Dir struct {
	path string // for error texts only

	mu   sync.RWMutex // held for reading during system calls, so that after Close the number is not reused while one is running
	fd   int
	open bool

	owner atomic.Uint64      // the user ID last seen, plus one; 0: not known yet
	id    atomic.Pointer[ID] // nil: not known yet

	foreign atomic.Bool // a file of another user was found

	before func(op, path string) error // see Before

	disk *Places // that the directory is on
}

// Open opens the directory at path, following symbolic links: the path comes from the
// operator's configuration and is trusted.
func Open(path string) (*Dir, error) {
	var d *Dir
	err := atPath(path, func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			d = newDir(path, fd, nil)
		}
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open directory", Path: path, Err: err}
	}
	return d, nil
}

// newDir returns the Dir of a descriptor. near is the disk of the directory that contains it, nil
// if that is not known.
func newDir(path string, fd int, near *Places) *Dir {
	d := &Dir{path: path, fd: fd, open: true, disk: near}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil { // otherwise, using d will return the error
		d.id.Store(&ID{uint64(st.Dev), st.Ino})
		if near == nil || near.dev != uint64(st.Dev) {
			d.disk = diskOf(uint64(st.Dev))
		}
	}
	return d
}

// Path returns the path by which the directory was opened, for messages to people. It may
// be out of date.
func (d *Dir) Path() string { return d.path }

// Fd returns the descriptor number, for naming the directory through /proc. It is valid
// until Close.
func (d *Dir) Fd() int { return d.fd }

// Before makes every system call on d, and on what is opened through d from then on, call f
// first, with the words that an error would contain. In f, a test can do what other
// programs might do at that moment; if f returns an error, the call fails with it. Before
// must be called before d is used.
func (d *Dir) Before(f func(op, path string) error) { d.before = f }

// Close closes the handle.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open {
		return fs.ErrClosed
	}
	d.open = false
	return unix.Close(d.fd)
}

// OpenDir opens the directory name inside d. It fails for a symbolic link.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	var sub *Dir
	err := d.do("open directory", name, func(fd int) error {
		n, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			sub = newDir(d.join(name), n, d.disk)
			sub.before = d.before
		}
		return err
	})
	return sub, err
}

// Dup opens the same directory a second time, for an independent user.
func (d *Dir) Dup() (*Dir, error) {
	var twin *Dir
	err := d.self("duplicate", func(fd int) error {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			twin = &Dir{path: d.path, fd: n, open: true, before: d.before, disk: d.disk}
		}
		return err
	})
	return twin, err
}

// file makes a File of a descriptor.
func (d *Dir) file(fd int, name string) *File {
	return &File{os.NewFile(uintptr(fd), d.join(name)), d.disk}
}

// Create creates the file name for writing. It returns fs.ErrExist if anything has that
// name. The umask does not affect the mode.
func (d *Dir) Create(name string, mode fs.FileMode) (*File, error) {
	var f *File
	err := d.do("create", name, func(fd int) error {
		n, err := unix.Openat(fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		if err != nil {
			return err
		}
		if mode.Perm()&^0o600 != 0 {
			if err := unix.Fchmod(n, uint32(mode.Perm())); err != nil {
				_ = unix.Close(n)
				_ = unix.Unlinkat(fd, name, 0)
				return err
			}
		}
		f = d.file(n, name)
		return nil
	})
	return f, err
}

// Rename moves name to newName in the directory to, replacing what has that name.
func (d *Dir) Rename(name string, to *Dir, newName string) error {
	return d.two("rename", name, to, newName, func(a, b int) error {
		return unix.Renameat(a, name, b, newName)
	})
}

// RenameNoReplace moves name to newName in the directory to. It returns fs.ErrExist if that
// name is taken. On file systems without renameat2, such as NFS, it uses link and unlink, with
// the same result for a reader of the new name.
func (d *Dir) RenameNoReplace(name string, to *Dir, newName string) error {
	return d.two("rename", name, to, newName, func(a, b int) error {
		err := unix.Renameat2(a, name, b, newName, unix.RENAME_NOREPLACE)
		if err != unix.EINVAL && err != unix.ENOSYS {
			return err
		}
		return renameByLink(a, name, b, newName)
	})
}

// renameByLink is RenameNoReplace with link and unlink or, for a directory, which cannot have
// two names, with a plain rename if the new name is free: a directory that takes it at that
// moment is replaced only if it is empty, and nothing else is.
func renameByLink(a int, name string, b int, newName string) error {
	err := unix.Linkat(a, name, b, newName, 0)
	if err == nil {
		err = retry(func() error { return unix.Unlinkat(a, name, 0) })
		if err == unix.ENOENT { // another program removed the old name
			err = nil
		}
		return err
	}
	var st unix.Stat_t
	if err != unix.EPERM || unix.Fstatat(a, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	switch err := unix.Fstatat(b, newName, &st, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return unix.EEXIST
	case unix.ENOENT:
		return unix.Renameat(a, name, b, newName)
	default:
		return err
	}
}

// Link makes newName in the directory to a hard link to name. It returns fs.ErrExist if
// that name is taken.
func (d *Dir) Link(name string, to *Dir, newName string) error {
	return d.two("link", name, to, newName, func(a, b int) error {
		return unix.Linkat(a, name, b, newName, 0)
	})
}

// Symlink creates name as a symbolic link to target. Nothing in this package follows it. It
// returns fs.ErrExist if anything has that name.
func (d *Dir) Symlink(target, name string) error {
	return d.do("create symbolic link", name, func(fd int) error {
		return unix.Symlinkat(target, fd, name)
	})
}

// Remove unlinks the file name.
func (d *Dir) Remove(name string) error {
	return d.finish("remove", name, func(fd int) error { return unix.Unlinkat(fd, name, 0) })
}

// RemoveDir removes the empty directory name.
func (d *Dir) RemoveDir(name string) error {
	return d.finish("remove directory", name, func(fd int) error {
		return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
	})
}

// Mkdir creates the directory name, accessible only to its owner. For other rights, see
// MkdirAs.
func (d *Dir) Mkdir(name string) error {
	return d.do("create directory", name, func(fd int) error { return unix.Mkdirat(fd, name, 0o700) })
}

// Chtimes sets the modification time of name, and does not change the access time. If the
// file system or the system call cannot represent the time, it stores the nearest one: on
// 32-bit machines the call knows no time after January 2038.
func (d *Dir) Chtimes(name string, mtime time.Time) error {
	t, err := unix.TimeToTimespec(mtime)
	if err != nil {
		bound := time.Unix(math.MaxInt32, 0)
		if mtime.Before(bound) {
			bound = time.Unix(math.MinInt32, 0)
		}
		t = unix.NsecToTimespec(bound.UnixNano())
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}
	return d.do("set time of", name, func(fd int) error {
		return unix.UtimesNanoAt(fd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Writable returns why no names can be created in the directory: fs.ErrPermission, or EROFS
// for a file system that is mounted read-only; nil if they can.
func (d *Dir) Writable() error {
	return d.self("access", func(fd int) error {
		return unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
}

// do runs one system call on a single component of d. It returns ErrNoAnswer if the disk does not
// respond.
func (d *Dir) do(op, name string, call func(fd int) error) error {
	if !singleName(name) {
		return &fs.PathError{Op: op, Path: d.join(name), Err: ErrBadName}
	}
	return d.run(op, name, false, call)
}

// finish is do for a call that finishes something: it waits for a place as long as it takes.
func (d *Dir) finish(op, name string, call func(fd int) error) error {
	if !singleName(name) {
		return &fs.PathError{Op: op, Path: d.join(name), Err: ErrBadName}
	}
	return d.run(op, name, true, call)
}

// self runs one system call on d itself.
func (d *Dir) self(op string, call func(fd int) error) error { return d.run(op, "", false, call) }

func (d *Dir) run(op, name string, finishes bool, call func(fd int) error) error {
	if d.before != nil {
		if err := d.before(op, d.join(name)); err != nil {
			return d.failed(op, name, err)
		}
	}
	if finishes {
		d.disk.Finish()
	} else if err := d.disk.Begin(); err != nil {
		return d.failed(op, name, err)
	}
	defer d.disk.Leave()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.open {
		return d.failed(op, name, fs.ErrClosed)
	}
	if err := retry(func() error { return call(d.fd) }); err != nil {
		return d.failed(op, name, err)
	}
	return nil
}

func (d *Dir) two(op, name string, to *Dir, newName string, call func(a, b int) error) error {
	if !singleName(newName) {
		return &fs.PathError{Op: op, Path: to.join(newName), Err: ErrBadName}
	}
	if d == to {
		return d.finish(op, name, func(fd int) error { return call(fd, fd) })
	}
	return d.finish(op, name, func(fd int) error {
		// Not before there is a place: whoever closes to waits for this lock, and calls that have places wait for him.
		to.mu.RLock()
		defer to.mu.RUnlock()
		if !to.open {
			return fs.ErrClosed
		}
		return call(fd, to.fd)
	})
}

func (d *Dir) failed(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: d.join(name), Err: err}
}

// join returns the path of name, or of d itself for "".
func (d *Dir) join(name string) string {
	if name == "" {
		return d.path
	}
	return d.path + "/" + name
}

func singleName(name string) bool {
	return name != "" && name != "." && name != ".." && strings.IndexByte(name, '/') < 0 && strings.IndexByte(name, 0) < 0
}

// retry repeats a system call until no signal interrupts it.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
