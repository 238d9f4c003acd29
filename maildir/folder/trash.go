package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// renameDir renames a directory to a name that must be free.
func renameDir(from *dirfd.Dir, name string, to *dirfd.Dir, newName string) error {
	err := from.RenameNoReplace(name, to, newName)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

// trash moves a directory out of the tree in one step, as Dovecot does, and returns a
// function that removes it for good. Once trash returns, the folder is gone for every
// program; after an error it is back in its place.
func trash(in *dirfd.Dir, name string, root *dirfd.Dir, sync syncDir) (func() error, error) {
	back, err := intoTrash(in, name, root)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	if err := errors.Join(sync(in), sync(root)); err != nil {
		return nil, errors.Join(err, back())
	}
	return func() error { return emptyTrash(root) }, nil
}

// emptyTrash removes the trash directory. If another program that is deleting a folder
// creates a new one while the old one is being removed, it seems as if that could not be
// emptied, and emptyTrash removes the new one too.
func emptyTrash(root *dirfd.Dir) (err error) {
	for range 10 {
		if err = root.RemoveAll(trashName); !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return err
}

// intoTrash moves a directory into the trash; back moves it out again.
func intoTrash(in *dirfd.Dir, name string, root *dirfd.Dir) (back func() error, err error) {
	for range 10 {
		err := renameDir(in, name, root, trashName)
		if !errors.Is(err, ErrExists) {
			return func() error { return renameDir(root, trashName, in, name) }, err
		}
		// Left by a program that was stopped, or being emptied by another one right now. If
		// it cannot be removed, move the directory into it.
		if root.RemoveAll(trashName) != nil {
			return intoOldTrash(in, name, root)
		}
	}
	return intoOldTrash(in, name, root)
}

// intoOldTrash moves a directory into the existing trash directory.
func intoOldTrash(in *dirfd.Dir, name string, root *dirfd.Dir) (back func() error, err error) {
	old, err := root.OpenDir(trashName)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	for n := range 1000 {
		trashed := fmt.Sprintf("maildird.%d.%d", os.Getpid(), n)
		err := renameDir(in, name, old, trashed)
		if !errors.Is(err, ErrExists) {
			return func() error {
				old, err := root.OpenDir(trashName)
				if err != nil {
					return err
				}
				defer old.Close()
				return renameDir(old, trashed, in, name)
			}, err
		}
	}
	return nil, fmt.Errorf("%s/%s is full: remove it", root.Path(), trashName)
}
