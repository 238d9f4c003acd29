package dirfd

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// SyncAll makes everything on the directory's file system durable (syncfs):
// what is best after a change of thousands of files.
func (d *Dir) SyncAll() error {
	return d.self("sync the file system of", unix.Syncfs)
}

// Symlink creates name as a symbolic link to target, which nothing in this
// package follows; fs.ErrExist if anything has that name.
func (d *Dir) Symlink(target, name string) error {
	return d.do("create symbolic link", name, func(fd int) error {
		return unix.Symlinkat(target, fd, name)
	})
}

// TakeRights gives the directory itself the mode, owner and group of another
// one. Owner and group stay where this process may not change them; the group
// then gets no more than everyone.
func (d *Dir) TakeRights(from Stat) error {
	return d.self("set rights of", func(fd int) error { return takeRights(fd, from, true) })
}

// TakeFileRights is TakeRights for an open file.
func TakeFileRights(f *os.File, from Stat) error {
	if err := takeRights(int(f.Fd()), from, false); err != nil {
		return &fs.PathError{Op: "set rights of", Path: f.Name(), Err: err}
	}
	return nil
}

func takeRights(fd int, from Stat, dir bool) error {
	bits := uint32(from.Mode.Perm())
	if dir && from.Mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	var own unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return err
	}
	if own.Uid != from.UID || own.Gid != from.GID {
		err := unix.Fchown(fd, int(from.UID), int(from.GID))
		if err == unix.EPERM && own.Gid != from.GID {
			if err = unix.Fchown(fd, -1, int(from.GID)); err == unix.EPERM {
				bits = bits&^(0o070|unix.S_ISGID) | bits&0o007<<3
			}
		}
		if err != nil && err != unix.EPERM {
			return err
		}
	}
	return unix.Fchmod(fd, bits)
}

// Chmod sets the permission bits of a regular file or directory. A symbolic
// link, or anything else, gives ErrNotRegular.
func (d *Dir) Chmod(name string, mode fs.FileMode) error {
	return d.do("set rights of", name, func(fd int) error {
		n, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(n)
		var st unix.Stat_t
		if err := unix.Fstat(n, &st); err != nil {
			return err
		}
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return ErrNotRegular
		}
		// A handle that needs no right to the file takes no fchmod; its name
		// in /proc does.
		return unix.Chmod("/proc/self/fd/"+strconv.Itoa(n), uint32(mode.Perm())|st.Mode&unix.S_ISGID)
	})
}

// CopyContent makes dst, which is empty, hold what src holds: by sharing the
// blocks where the file system can (FICLONE), else by copying the bytes without
// the holes. It tells whether blocks are shared.
func CopyContent(dst, src *os.File) (shared bool, err error) {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return true, nil
	}
	st, err := src.Stat()
	if err != nil {
		return false, err
	}
	size := st.Size()
	for at := int64(0); at < size; {
		begin, end, ok := DataAt(src, at, size)
		if !ok {
			break
		}
		if _, err := dst.Seek(begin, io.SeekStart); err != nil {
			return false, err
		}
		n, err := io.Copy(dst, io.NewSectionReader(src, begin, end-begin))
		if err != nil {
			return false, err
		}
		if n < end-begin {
			size = begin + n // it got shorter meanwhile
			break
		}
		at = end
	}
	return false, dst.Truncate(size)
}

// DataAt finds the first stretch of data at or after an offset in a file of this
// size, passing over holes; ok is false if there is none.
func DataAt(f *os.File, at, size int64) (begin, end int64, ok bool) {
	return dataAt(int(f.Fd()), at, size)
}

func dataAt(fd int, at, size int64) (begin, end int64, ok bool) {
	begin, err := unix.Seek(fd, at, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return 0, 0, false
	}
	if err != nil {
		return at, size, true // this file system knows no holes
	}
	end, err = unix.Seek(fd, begin, unix.SEEK_HOLE)
	if err != nil {
		end = size
	}
	end = min(end, size)
	return begin, end, begin < end
}

// remote are file systems on which other machines may change files without
// this one's kernel noticing: NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, AFS, GFS2,
// OCFS2, Lustre, VirtualBox folders.
var remote = []uint32{0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997, 0x00c36400, 0x5346414f,
	0x01161970, 0x7461636f, 0x0bd00bd0, 0x786f4256}

// Remote tells whether the directory is on such a file system.
func (d *Dir) Remote() (bool, error) {
	var st unix.Statfs_t
	err := d.self("statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return slices.Contains(remote, uint32(st.Type)), err
}
