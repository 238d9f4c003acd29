package dirfd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotRegular means that a name refers to something other than a regular file (a symbolic
// link, a directory, a FIFO, a device, a socket), which this program neither reads nor
// waits for.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLong means that a file is longer than its reader accepts.
var ErrTooLong = errors.New("file is too long")

// ErrForeignLink means that a file has several names and belongs to a different user than
// the directory: the directory's owner may have linked it there to have it read or changed
// by a program with more rights.
var ErrForeignLink = fmt.Errorf("%w of this directory's owner but a hard link to somebody else's", ErrNotRegular)

// errRemoved means that the name of another user's file was removed while it was opened.
var errRemoved = fmt.Errorf("%w that keeps its name", ErrNotRegular)

// errPrivate means that a file belongs to a different user than the directory, and the
// directory's owner may not read it. Whoever may write to the directory in which it was
// could have moved it here to have it read by root.
var errPrivate = fmt.Errorf("%w: it is another user's, and this directory's owner may not read it", fs.ErrPermission)

// Open opens the regular file name for reading. It returns ErrNotRegular at once, without
// waiting, for a symbolic link and anything else that is not a regular file, and for a file
// with several names that belongs to a different user than the directory. If the process
// runs as root, it returns fs.ErrPermission for a file that belongs neither to root nor to
// the directory's owner and that the directory's owner may not read.
func (d *Dir) Open(name string) (*File, error) {
	return d.openRegular(name, unix.O_RDONLY)
}

// OpenAppend opens the existing regular file name for appending, with the errors of Open.
func (d *Dir) OpenAppend(name string) (*File, error) {
	return d.openRegular(name, unix.O_WRONLY|unix.O_APPEND)
}

func (d *Dir) openRegular(name string, flags int) (*File, error) {
	var f *File
	err := d.do("open", name, func(fd int) error {
		var st unix.Stat_t
		n, err := d.openChecked(fd, name, flags, &st)
		if err != nil {
			return err
		}
		// O_NONBLOCK has no effect on a regular file, but os.NewFile would hand a
		// non-blocking descriptor to the network poller.
		if err := unix.SetNonblock(n, false); err != nil {
			_ = unix.Close(n)
			return err
		}
		f = d.file(n, name)
		return nil
	})
	return f, err
}

// openChecked opens the regular file name in the directory with descriptor fd, with the
// checks described at Open, and stores its attributes in st.
func (d *Dir) openChecked(fd int, name string, flags int, st *unix.Stat_t) (int, error) {
	const tries = 10 // while other programs keep removing the name
	for try := 1; ; try++ {
		n, err := d.openOnce(fd, name, flags, st)
		if err != errRemoved || try == tries {
			return n, err
		}
	}
}

func (d *Dir) openOnce(fd int, name string, flags int, st *unix.Stat_t) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	n, err := 0, error(unix.EPERM)
	if !d.foreign.Load() {
		// Recording that a message was read costs a write of its inode, and nobody needs
		// it. Only a file's owner may avoid it.
		n, err = unix.Openat(fd, name, flags|unix.O_NOATIME, 0)
	}
	if err == unix.EPERM {
		if n, err = unix.Openat(fd, name, flags, 0); err == nil {
			d.foreign.Store(true)
		}
	}
	if err != nil {
		if err == unix.ELOOP || err == unix.ENXIO || err == unix.EISDIR {
			err = ErrNotRegular
		}
		return 0, err
	}
	if err = unix.Fstat(n, st); err == nil {
		err = d.checkRegular(fd, n, name, st)
	}
	if err != nil {
		_ = unix.Close(n)
		return 0, err
	}
	return n, nil
}

// checkRegular returns why a file must not be used that was opened as name in the directory
// with descriptor fd and got the descriptor n, through which st was read then; nil if it may be.
func (d *Dir) checkRegular(fd, n int, name string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrNotRegular
	}
	owns, err := d.owns(fd, st.Uid)
	switch {
	case err != nil || owns:
		return err
	case st.Nlink > 1:
		return ErrForeignLink
	}
	// The owner may have removed, before st was read, a hard link through which the file was
	// opened: the one name must be that one.
	if err := stillNamed(fd, n, name); err != nil {
		return err
	}
	return mayRead(fd, st)
}

// stillNamed returns errRemoved if a file that was opened as name in the directory with
// descriptor fd, and got the descriptor n, no longer has that name, or has it again after it
// was removed. Only the kernel can tell (proc(5)): looking the name up and counting the file's
// names, as stat does, are two steps, between which the name can be removed.
func stillNamed(fd, n int, name string) error {
	// The kernel counts a removed name out before it says that the file has lost it, but holds
	// the directory's lock meanwhile. Listing the directory waits for that.
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Getdents(own, make([]byte, 512))
	_ = unix.Close(own)
	if err != nil {
		return err
	}
	file, err := pathOf(n)
	if err != nil {
		return err
	}
	dir, err := pathOf(fd)
	if err != nil {
		return err
	}
	if file != strings.TrimSuffix(dir, "/")+"/"+name || strings.HasSuffix(name, removed) {
		return errRemoved
	}
	return nil
}

// removed is at the end of the path of a file that was removed, under whatever name it had last:
// the name "a (deleted)" is not known from "a", renamed from it and removed.
const removed = " (deleted)"

// pathOf returns the path by which an open file is reached, with removed after it if that was
// removed. Its error is never fs.ErrNotExist: without /proc, the file is still there.
func pathOf(fd int) (string, error) {
	path := make([]byte, 2*os.Getpagesize()) // the kernel returns at most one
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), path)
	if err != nil {
		return "", fmt.Errorf("it belongs to another user than its directory, and /proc does not say whether it is a hard link: %v", err)
	}
	return string(path[:n]), nil
}

// mayRead returns errPrivate if this process, which runs as root and acts for the owner of
// the directory, could read a file of another user that the owner may not read. Files of
// root may be read: they are left by a delivery by root, or a copy that root made.
func mayRead(fd int, st *unix.Stat_t) error {
	if st.Uid == 0 || st.Mode&0o004 != 0 || os.Geteuid() != 0 {
		return nil
	}
	var in unix.Stat_t
	if err := unix.Fstat(fd, &in); err != nil {
		return err
	}
	if in.Uid == 0 || st.Mode&0o040 != 0 && st.Gid == in.Gid {
		return nil
	}
	return errPrivate
}

// Owns reports whether the directory belongs to a user.
func (d *Dir) Owns(uid uint32) (owns bool, err error) {
	err = d.self("stat", func(fd int) error {
		owns, err = d.owns(fd, uid)
		return err
	})
	return owns, err
}

// owns is Owns for callers that have the descriptor.
func (d *Dir) owns(fd int, uid uint32) (bool, error) {
	if d.owner.Load() == uint64(uid)+1 {
		return true, nil // only root gives directories away, so what was seen is good enough
	}
	var in unix.Stat_t
	if err := unix.Fstat(fd, &in); err != nil {
		return false, err
	}
	d.owner.Store(uint64(in.Uid) + 1)
	return in.Uid == uid, nil
}

// ReadFile reads the regular file name, or returns ErrTooLong if it has more than limit
// bytes.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrTooLong, st.Size(), limit)}
	}
	buf := make([]byte, st.Size())
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil // fewer if the file was truncated meanwhile
}
