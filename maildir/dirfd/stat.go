package dirfd

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// ID identifies a directory or file, whatever its names and handles.
type ID struct{ Dev, Ino uint64 }

// Stat is what the kernel returns for one name.
type Stat struct {
	Size     int64
	Mode     fs.FileMode // type and permission bits
	Dev, Ino uint64
	Nlink    uint64
	UID, GID uint32
	Mtime    time.Time
	Ctime    time.Time
	Atime    time.Time
}

// Regular reports whether the name is a regular file.
func (s Stat) Regular() bool { return s.Mode.IsRegular() }

// ID returns the identity of the file.
func (s Stat) ID() ID { return ID{s.Dev, s.Ino} }

// Changed returns the time of the last change that the kernel recorded: of the content, or
// of rights, names and the like.
func (s Stat) Changed() time.Time {
	if s.Ctime.After(s.Mtime) {
		return s.Ctime
	}
	return s.Mtime
}

// InodeSum returns the InodeSum of the inode number.
func (s Stat) InodeSum() uint32 { return InodeSum(s.Ino) }

// InodeSum returns 32 bits that represent an inode number, never 0. Numbers that are close
// to each other, such as those of the files of a directory, have different sums.
func InodeSum(ino uint64) uint32 {
	const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return max(uint32(ino*golden>>32), 1)
}

// Lstat returns the attributes of name without following a symbolic link.
func (d *Dir) Lstat(name string) (Stat, error) {
	var st unix.Stat_t
	err := d.do("stat", name, func(fd int) error {
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return fromUnix(&st), err
}

// StatTarget returns the attributes of what name leads to, following symbolic links. It is
// only for messages to the operator: no operation on mail may depend on it.
func (d *Dir) StatTarget(name string) (Stat, error) {
	var st unix.Stat_t
	err := d.do("stat", name, func(fd int) error { return unix.Fstatat(fd, name, &st, 0) })
	return fromUnix(&st), err
}

// Stat returns the attributes of the directory itself.
func (d *Dir) Stat() (Stat, error) {
	var st unix.Stat_t
	err := d.self("stat", func(fd int) error { return unix.Fstat(fd, &st) })
	return fromUnix(&st), err
}

// ID identifies the directory. It does not change while d is open, so it is determined only
// once.
func (d *Dir) ID() (ID, error) {
	if id := d.id.Load(); id != nil {
		return *id, nil
	}
	st, err := d.Stat()
	if err != nil {
		return ID{}, err
	}
	id := st.ID()
	d.id.Store(&id)
	return id, nil
}

// Handle is an open file: a *File or *os.File.
type Handle interface {
	Fd() uintptr
	Name() string
}

// FileStat returns the attributes of an open file.
func FileStat(f Handle) (Stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return fromUnix(&st), nil
}

// Birth returns when a file was created, in nanoseconds since 1970. Nobody can change that,
// and a copy has a different value. It is 0 if the file system does not tell.
func Birth(f Handle) int64 {
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st) })
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

func fromUnix(st *unix.Stat_t) Stat {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	if st.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	return Stat{
		Size: st.Size, Mode: mode, Dev: uint64(st.Dev), Ino: st.Ino, Nlink: uint64(st.Nlink),
		UID: st.Uid, GID: st.Gid,
		Mtime: time.Unix(st.Mtim.Unix()), Ctime: time.Unix(st.Ctim.Unix()), Atime: time.Unix(st.Atim.Unix()),
	}
}
