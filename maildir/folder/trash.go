package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// renameDir renames a directory to a name that is free.
func renameDir(from *dirfd.Dir, name string, to *dirfd.Dir, newName string) error {
	err := from.RenameNoReplace(name, to, newName)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EISDIR) {
		// A file system without a rename that keeps what is there, and no
		// hard link of a directory. A plain rename onto a directory that
		// holds anything fails too.
		if _, statErr := to.Lstat(newName); !errors.Is(statErr, fs.ErrNotExist) {
			return ErrExists
		}
		err = from.Rename(name, to, newName)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

// trash moves a directory out of the tree in one step, as Dovecot does, and
// returns what removes it for good. Once trash returns, the folder is gone
// for every program.
func trash(in *dirfd.Dir, name string, root *dirfd.Dir, fsync bool) (func() error, error) {
	err := intoTrash(in, name, root)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	if fsync {
		if err := errors.Join(in.Sync(), root.Sync()); err != nil {
			return nil, err
		}
	}
	return func() error { return root.RemoveAll(trashName) }, nil
}

func intoTrash(in *dirfd.Dir, name string, root *dirfd.Dir) error {
	for range 10 {
		err := renameDir(in, name, root, trashName)
		if !errors.Is(err, ErrExists) {
			return err
		}
		// Left by a program that was stopped, or being emptied by another one
		// right now. What cannot be removed can still take us in.
		if root.RemoveAll(trashName) != nil {
			return intoOldTrash(in, name, root)
		}
	}
	return intoOldTrash(in, name, root)
}

// intoOldTrash moves a directory into the trash directory that is there.
func intoOldTrash(in *dirfd.Dir, name string, root *dirfd.Dir) error {
	old, err := root.OpenDir(trashName)
	if err != nil {
		return err
	}
	defer old.Close()
	for n := range 1000 {
		err := renameDir(in, name, old, fmt.Sprintf("maildird.%d.%d", os.Getpid(), n))
		if !errors.Is(err, ErrExists) {
			return err
		}
	}
	return fmt.Errorf("%s/%s is full: remove it", root.Path(), trashName)
}
