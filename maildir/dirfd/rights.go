package dirfd

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Rights are what a new file or directory inherits from a directory, by the rules that
// Dovecot follows in a Maildir: the directory's permission bits, and its group if the bits
// give the group different rights than everyone. A process that runs as root also gives
// what it creates to the directory's owner.
type Rights struct {
	Mode     fs.FileMode // permission bits of the directory
	UID, GID int         // new owner and group; -1: the kernel's choice
}

// Rights returns what new entries of d, or of a directory below d in the tree of folders,
// inherit from d.
func (d *Dir) Rights() (Rights, error) {
	st, err := d.Stat()
	if err != nil {
		return Rights{}, err
	}
	return st.Rights(), nil
}

// Rights is Dir.Rights for a directory with these attributes.
func (st Stat) Rights() Rights {
	r := Rights{Mode: st.Mode.Perm(), UID: -1, GID: -1}
	if os.Geteuid() == 0 && st.UID != 0 {
		r.UID = int(st.UID)
	}
	setgid := st.Mode&fs.ModeSetgid != 0 // the kernel passes the group on
	matters := st.Mode>>3&7 != st.Mode&7 || r.UID >= 0
	if !setgid && matters && int(st.GID) != os.Getegid() {
		r.GID = int(st.GID)
	}
	return r
}

func (r Rights) file() uint32 { return uint32(r.Mode&0o666 | 0o600) }
func (r Rights) dir() uint32  { return uint32(r.Mode&0o777 | 0o700) }

// CreateAs is Create with these rights instead of a mode.
func (d *Dir) CreateAs(name string, r Rights) (*File, error) {
	f, err := d.Create(name, 0o600)
	if err != nil {
		return nil, err
	}
	if err := r.apply(int(f.Fd()), r.file()); err != nil {
		_ = f.Close()
		_ = d.Remove(name)
		return nil, &fs.PathError{Op: "set rights of", Path: d.join(name), Err: err}
	}
	return f, nil
}

// MkdirAs creates the directory name with these rights and opens it. It returns fs.ErrExist
// if anything has that name. Rights are set through the handle, so that nothing that takes
// the name's place meanwhile gets them.
func (d *Dir) MkdirAs(name string, r Rights) (*Dir, error) {
	if err := d.Mkdir(name); err != nil {
		return nil, err
	}
	sub, err := d.OpenDir(name)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, &fs.PathError{Op: "create directory", Path: d.join(name), Err: fs.ErrExist} // another program put it there
	}
	if err != nil {
		_ = d.RemoveDir(name)
		return nil, err
	}
	// The owner of d may have put a directory of root there, which is not to be given away.
	empty := true
	if err := sub.List(func([]byte, Kind, uint64) bool { empty = false; return false }); err != nil || !empty {
		_ = sub.Close()
		_ = d.RemoveDir(name)
		if err == nil {
			err = &fs.PathError{Op: "create directory", Path: d.join(name), Err: fs.ErrExist}
		}
		return nil, err
	}
	if err := sub.self("set rights of", func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if int(st.Uid) != os.Geteuid() {
			return fs.ErrExist // not the one that was created here
		}
		return r.apply(fd, r.dir()|st.Mode&unix.S_ISGID)
	}); err != nil {
		_ = sub.Close()
		_ = d.RemoveDir(name)
		return nil, err
	}
	return sub, nil
}

func (r Rights) apply(fd int, bits uint32) error {
	if r.UID >= 0 || r.GID >= 0 {
		if err := unix.Fchown(fd, r.UID, r.GID); err != nil {
			if err != unix.EPERM {
				return err
			}
			// The group remains this process's group: it gets the same rights as everyone.
			bits = bits&^0o070 | bits&0o007<<3
		}
	}
	return unix.Fchmod(fd, bits)
}

// TakeRights gives the directory itself the mode, owner and group of another one. If this
// process may not change owner or group, they stay the same, and the group gets the same
// rights as everyone.
func (d *Dir) TakeRights(from Stat) error {
	return d.self("set rights of", func(fd int) error { return takeRights(fd, from, true) })
}

// TakeFileRights is TakeRights for an open file.
func TakeFileRights(f *File, from Stat) error {
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

// Chmod sets the permission bits of a regular file or directory. It returns ErrNotRegular
// for a symbolic link or anything else, and refuses other users' files like Open.
func (d *Dir) Chmod(name string, mode fs.FileMode) error {
	return d.do("set rights of", name, func(fd int) error {
		return d.withOwn(fd, name, func(n int, st *unix.Stat_t) error {
			return chmodPath(n, uint32(mode.Perm())|st.Mode&unix.S_ISGID)
		})
	})
}

// Chown changes the owner or group of a regular file or directory; -1 leaves it unchanged.
// The errors are those of Chmod.
func (d *Dir) Chown(name string, uid, gid int) error {
	return d.do("change owner of", name, func(fd int) error {
		return d.withOwn(fd, name, func(n int, _ *unix.Stat_t) error {
			return unix.Fchownat(n, "", uid, gid, unix.AT_EMPTY_PATH)
		})
	})
}

// withOwn calls f with a handle (O_PATH) of the regular file or directory name in the
// directory with descriptor fd, unless Open would refuse the file: the directory's owner
// may have put it there so that root gives it to them.
func (d *Dir) withOwn(fd int, name string, f func(n int, st *unix.Stat_t) error) error {
	n, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(n)
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := d.checkRegular(fd, n, name, &st); err != nil {
			return err
		}
	}
	return f(n, &st)
}

// chmodPath sets the permission bits of the file of an O_PATH handle. Such a handle, which
// needs no rights to the file, cannot be used with fchmod, but its name in /proc can be
// used with chmod.
func chmodPath(fd int, bits uint32) error {
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), bits)
}
