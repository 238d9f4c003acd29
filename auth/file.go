package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// File is a text file of the operator's that is read again when it changes. For one
// goroutine at a time.
type File struct {
	path string
	what string // "users": what it holds, for errors and the log
	log  *slog.Logger

	version fileVersion // that was read
	told    time.Time   // when the log was told that the file cannot be read
}

// settled is how long a file has to be as it is before it is taken to be whole.
const settled = time.Second

// tellInterval is how often the log is told that the file cannot be read.
const tellInterval = time.Minute

// fileVersion tells one state of a file from another.
type fileVersion struct {
	ino          uint64
	born         unix.StatxTimestamp // zero where the file system does not tell
	size         uint64
	mtime, ctime unix.StatxTimestamp
}

// NewFile is the file at path that holds what ("users"). Nothing is read yet.
func NewFile(path, what string, log *slog.Logger) *File {
	return &File{path: path, what: what, log: log}
}

// Read reads the file now.
func (f *File) Read() ([]byte, error) {
	text, v, err := readFile(f.path, f.what)
	if err != nil {
		return nil, err
	}
	f.version = v
	return text, nil
}

// Changed looks whether the file is another one than the one that was read last, and
// reads it then. One that cannot be read has not changed, and the log is told.
func (f *File) Changed() (text []byte, changed bool) {
	now := time.Now()
	v, err := versionOf(f.path)
	if err == nil && v != f.version && !f.beingWritten(v, now) {
		text, err = f.Read()
		changed = err == nil
	}
	switch {
	case err == nil:
		f.told = time.Time{}
	case now.Sub(f.told).Abs() >= tellInterval:
		f.told = now
		f.log.Error(f.what+" file cannot be read, keeping the "+f.what+" already known", "error", err, "more", "not logged again for a minute")
	}
	return text, changed
}

// beingWritten tells whether the file was changed in place a moment ago: half
// of it may be all that is there, and the mail for what is missing would be
// refused for good. A file that was renamed into place is complete; it may have the
// inode number of one that was there earlier.
func (f *File) beingWritten(v fileVersion, now time.Time) bool {
	age := now.Sub(time.Unix(v.mtime.Sec, int64(v.mtime.Nsec)))
	return v.ino == f.version.ino && v.born == f.version.born && age >= 0 && age < settled
}

// readFile reads a file that holds what, without the mark that editors of other
// systems put before UTF-8, and tells the state that it had before. A FIFO or device
// would not come to an end.
func readFile(path, what string) (text []byte, v fileVersion, err error) {
	v, err = versionOf(path)
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, v, fmt.Errorf("cannot read the %s file: %w", what, err)
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), v, nil
}

func versionOf(path string) (fileVersion, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return fileVersion{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileVersion{}, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	return fileVersion{st.Ino, st.Btime, st.Size, st.Mtime, st.Ctime}, nil
}
