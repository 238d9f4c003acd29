package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
)

// openRoot opens the Maildir, and creates it with its default folders if there is none.
// Several programs may do so at once: all of them wait until one has created it, or until
// ctx ends.
func openRoot(ctx context.Context, opt AccountOptions) (*dirfd.Dir, error) {
	open := openOrMake
	if opt.Owner != nil {
		open = opt.Owner.openOrMake
	}
	root, err := open(opt.Root)
	if err != nil {
		return nil, err
	}
	root.Before(opt.before)
	if _, err = root.Lstat("cur"); errors.Is(err, fs.ErrNotExist) {
		// It is durable before it becomes a Maildir, so that whoever finds a Maildir can
		// immediately acknowledge mail in it.
		if err = syncAbove(opt.Root); err == nil {
			err = folder.Provision(ctx, root, opt.Folder, opt.Defaults)
		}
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

func openOrMake(path string) (*dirfd.Dir, error) {
	root, err := dirfd.Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := MakeDirs(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := makeDurably(path, 0o700); err != nil {
		return nil, err
	}
	return dirfd.Open(path)
}

// MakeDirs creates a directory and the missing directories above it, each of them durable
// before another is created in it. An existing directory may just have been created by
// another program, so it is synced too.
func MakeDirs(path string, mode fs.FileMode) error {
	err := makeDurably(path, mode)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		if err := MakeDirs(filepath.Dir(path), mode); err != nil {
			return err
		}
		err = makeDurably(path, mode)
	}
	return err
}

// makeDurably creates a directory, which may exist already, and makes its name durable. If
// that fails, it removes the directory again, because a second sync may wrongly report
// success. Whoever may not open the directory above, such as a server that is confined to the
// users' mail, did not create an existing one: its name is left to whoever did.
func makeDurably(path string, mode fs.FileMode) error {
	made := os.Mkdir(path, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := syncAbove(path)
	switch {
	case made != nil && errors.Is(err, fs.ErrPermission):
		return nil
	case made == nil && err != nil:
		_ = os.Remove(path)
	}
	return err
}

// MayMakeDirs returns why this process has no right to do what MakeDirs does for path, or
// nil.
func MayMakeDirs(path string) error {
	above := filepath.Dir(path)
	err := unix.Faccessat(unix.AT_FDCWD, above, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	switch {
	case err == unix.ENOENT && above != path:
		return MayMakeDirs(above)
	case err != nil:
		return fmt.Errorf("%s cannot be made: write in %s: %w", path, above, err)
	}
	return nil
}

// MayWrite returns why this process has no right to create and remove files in a directory,
// or nil.
func MayWrite(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("read and write in %s: %w", dir, err)
	}
	return nil
}

// syncAbove makes the name of a directory durable.
func syncAbove(path string) error {
	above, err := dirfd.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(above.Sync(), above.Close())
}
