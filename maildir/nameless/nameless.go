// Package nameless makes temporary files that have no name: nobody else can
// open one, and it is gone when it is closed, also by a crash.
package nameless

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Create makes an empty file for reading and writing on the file system of dir,
// a directory that is the operator's and no user's.
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

// unlinked is Create for file systems that have to give a name first, such as
// overlayfs in old kernels and NFS.
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
