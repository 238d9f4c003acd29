package dirfd

import (
	"errors"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// CreateWhole creates the file name with this content. It returns fs.ErrExist if anything
// has that name. The name appears together with the content: if the file system supports
// nameless files, nobody finds the file empty, whenever this process dies. Otherwise the
// file is created first and then written. It is returned open for reading and writing, and
// is not synced.
func (d *Dir) CreateWhole(name string, r Rights, content []byte) (*File, error) {
	f, err := d.createNameless(name, r, content)
	if f != nil || err != nil {
		return f, err
	}
	f, err = d.CreateAs(name, r)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		_ = d.Remove(name)
		return nil, err
	}
	return f, nil
}

// errTaken means that the new file, before it was complete, lost its name to another one.
var errTaken = errors.New("another program is replacing the file at the same time")

// Replace gives the name to a new file in one step, so that whoever opens it finds the old
// content or all of the new. Until then the file is called temp, and what had that name is
// removed. The file inherits the rights of d, and write writes its content, syncs it if it
// must be durable before it replaces the old one, and may close it. If another program takes
// the name temp meanwhile, that is an error. After an error there is no new file. Otherwise it
// is returned, open unless write closed it, and its name is not synced.
func (d *Dir) Replace(name, temp string, write func(f *File) error) (*File, error) {
	r, err := d.Rights()
	if err != nil {
		return nil, err
	}
	if err := d.RemoveAll(temp); err != nil {
		return nil, err
	}
	f, err := d.CreateAs(temp, r)
	if err != nil {
		return nil, err
	}
	st, err := FileStat(f)
	if err == nil {
		err = write(f)
		if now, lerr := d.Lstat(temp); lerr == nil && now.ID() != st.ID() {
			_ = f.Close()
			return nil, &fs.PathError{Op: "replace", Path: d.join(name), Err: errors.Join(err, errTaken)}
		}
	}
	if err == nil {
		err = d.Rename(temp, d, name)
	}
	if err != nil {
		_ = f.Close()
		return nil, errors.Join(err, d.RemoveAll(temp))
	}
	return f, nil
}

// createNameless returns neither a file nor an error if the file system (or a missing
// /proc) does not support it.
func (d *Dir) createNameless(name string, r Rights, content []byte) (*File, error) {
	var f *File
	err := d.do("create", name, func(fd int) error {
		// A taken name is the common failure, and cheaper to detect first.
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return fs.ErrExist
		}
		n, err := unix.Openat(fd, ".", unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
		if err != nil {
			if err == unix.EOPNOTSUPP || err == unix.EISDIR || err == unix.ENOENT || err == unix.EINVAL ||
				err == unix.EPERM { // the error for a removed directory: creating the file by name returns a better one
				return nil
			}
			return err
		}
		linked := false
		if err = r.apply(n, r.file()); err == nil {
			if err = writeAll(n, content); err == nil {
				err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(n), fd, name, unix.AT_SYMLINK_FOLLOW)
				linked = err == nil
			}
		}
		if !linked {
			_ = unix.Close(n)
			if err == unix.ENOENT || err == unix.EXDEV || err == unix.EOPNOTSUPP {
				return nil
			}
			return err
		}
		f = d.file(n, name)
		return nil
	})
	return f, err
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Write(fd, p)
			return err
		})
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
