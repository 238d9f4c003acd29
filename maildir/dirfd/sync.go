package dirfd

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Sync makes the directory's entries durable (fsync of the directory).
func (d *Dir) Sync() error {
	return d.run("sync", "", true, func(fd int) error { return durable(fd, unix.Fsync) })
}

// SyncAll makes everything on the directory's file system durable (syncfs). That is the
// fastest way after changing thousands of files.
func (d *Dir) SyncAll() error {
	return d.run("sync the file system of", "", true, func(fd int) error { return durable(fd, unix.Syncfs) })
}

// Sync makes the file's content and attributes durable (fsync).
func (f *File) Sync() error { return f.sync("sync", unix.Fsync) }

// DataSync makes the file's content and length durable (fdatasync).
func (f *File) DataSync() error { return f.sync("fdatasync", unix.Fdatasync) }

func (f *File) sync(op string, call func(fd int) error) error {
	_, err := f.finish(func() (int, error) {
		return 0, retry(func() error { return durable(int(f.Fd()), call) })
	})
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

// durable makes a call that syncs, and asks whether the file system was still in use after it.
// When its log cannot be written, XFS shuts itself down and drops what it had not written; an
// fsync that runs at this moment finds nothing left to write, and returns success for changes that
// are lost. But then fstat fails, as all calls do from the beginning of the shutdown.
func durable(fd int, call func(fd int) error) error {
	if err := call(fd); err != nil {
		return err
	}
	var st unix.Stat_t
	return unix.Fstat(fd, &st)
}
