package dirfd

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	removeDepth  = 32   // directories open at once
	removeBatch  = 4096 // names held at once
	removeRounds = 1000 // listings of one directory that others keep filling
)

// RemoveAll removes name and, if it is a directory, everything in it. Symbolic links are
// removed, not followed, and mount points are not crossed. A name that does not exist is
// not an error. Memory and open files are limited however large or deep the tree is. After
// an error, everything that could be removed before it is gone.
func (d *Dir) RemoveAll(name string) error {
	err := d.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	top, err := d.openRemovable(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer top.Close()
	st, err := top.Stat()
	if err != nil {
		return err
	}
	r := remover{top: top, dev: st.Dev}
	if err := r.empty(top, 1); err != nil {
		return err
	}
	if err := d.RemoveDir(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openRemovable opens a directory for listing. If its rights do not allow that, it changes
// them first.
func (d *Dir) openRemovable(name string) (*Dir, error) {
	sub, err := d.OpenDir(name)
	if !errors.Is(err, fs.ErrPermission) {
		return sub, err
	}
	if err := d.do("open up", name, func(fd int) error {
		n, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(n)
		return chmodPath(n, 0o700)
	}); err != nil {
		return nil, err
	}
	return d.OpenDir(name)
}

// remover removes one directory with everything in it.
type remover struct {
	top   *Dir
	dev   uint64
	moved int // directories that were moved to the top because they were too deep
}

// empty removes everything inside d.
func (r *remover) empty(d *Dir, depth int) error {
	for range removeRounds {
		type entry struct {
			name string
			dir  bool
		}
		var batch []entry
		if err := d.List(func(name []byte, kind Kind, _ uint64) bool {
			batch = append(batch, entry{string(name), kind == KindDir})
			return len(batch) < removeBatch
		}); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // somebody else removed d itself
			}
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, e := range batch {
			if err := r.remove(d, e.name, e.dir, depth); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return &fs.PathError{Op: "remove", Path: d.path, Err: errors.New("other programs keep filling the directory")}
}

func (r *remover) remove(d *Dir, name string, isDir bool, depth int) error {
	if !isDir {
		err := d.Remove(name)
		if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if depth >= removeDepth {
		return r.moveUp(d, name)
	}
	sub, err := d.openRemovable(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	st, err := sub.Stat()
	if err != nil {
		return err
	}
	if st.Dev != r.dev {
		return &fs.PathError{Op: "remove", Path: sub.path, Err: errors.New("another file system is mounted there")}
	}
	if err := r.empty(sub, depth+1); err != nil {
		return err
	}
	return d.RemoveDir(name)
}

// moveUp moves a directory that is too deep to the top, where the next listing of the top
// finds it.
func (r *remover) moveUp(d *Dir, name string) error {
	for {
		r.moved++
		err := d.RenameNoReplace(name, r.top, fmt.Sprintf("deep.%d", r.moved))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}
