// Package nameless creates temporary files without a name: nobody else can open them, and
// they disappear when they are closed, even by a crash.
package nameless

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Create creates an empty file for reading and writing on the file system of dir, a
// directory that belongs to the operator and not to a user.
func Create(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), dir+"/(nameless)"), nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINTR):
		return unlinked(dir)
	}
	return nil, &fs.PathError{Op: "create a file in", Path: dir, Err: err}
}

// unlinked is Create for file systems on which a file needs a name first, such as overlayfs
// in old kernels and NFS.
func unlinked(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "maildird-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
