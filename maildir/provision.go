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

// openRoot opens the Maildir and makes it, with its standard folders, if
// there is none. Several programs may do so at once: all wait until one has
// made it, or until the end of ctx.
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
		// Durable before it is a Maildir, so that whoever finds one can tell
		// of mail in it at once.
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

// MakeDirs creates a directory and those above it that are missing, each
// one durable before another is made in it. One that is there may have been
// made by another program just now, so it is synced as well.
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

// makeDurably makes a directory, which may be there, and its name durable. If that fails
// it is removed again: another sync may say that all is well and be wrong.
func makeDurably(path string, mode fs.FileMode) error {
	made := os.Mkdir(path, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := syncAbove(path)
	if err != nil && made == nil {
		_ = os.Remove(path)
	}
	return err
}

// MayMakeDirs tells why this process has no right to do what MakeDirs does for path.
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

// MayWrite tells why this process has no right to make and remove files in a directory.
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
