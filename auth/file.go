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
//
// Other programs write it as they like: in place, or removing it first, as vim does, and
// in pieces. Who is missing in half of a file would have his mail refused for good, or
// given to the catch-all, and his sessions ended. So a file that changed is taken over
// when it has stood still for a while, by looks at it and not by its times, which are of
// another clock; and one that ends in the middle of a line only after a longer while.
type File struct {
	path string
	what string // "users": what it holds, for errors and the log
	log  *slog.Logger

	version fileVersion // that was read
	seen    fileVersion // at the last look, if that is another one
	since   time.Time   // when seen was seen first
	told    time.Time   // when the log was told that the file cannot be read
}

const (
	// settled is how long a file has to be as it is before it is taken to be whole.
	settled = 3 * time.Second / 4
	// settledUnended is the same for one whose last line does not end.
	settledUnended = 10 * time.Second
)

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
// reads it when it is whole. One that cannot be read has not changed, and the log is told.
// To be called again and again.
func (f *File) Changed() (text []byte, changed bool) {
	now := time.Now()
	v, err := versionOf(f.path)
	switch {
	case err != nil || v == f.version:
	case v != f.seen:
		f.seen, f.since = v, now
	case now.Sub(f.since) >= settled:
		text, changed, err = f.readWhole(v, now)
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

// readWhole reads the version v, unless it is being written after all.
func (f *File) readWhole(v fileVersion, now time.Time) (text []byte, ok bool, err error) {
	text, _, err = readFile(f.path, f.what)
	if err != nil {
		return nil, false, err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' && now.Sub(f.since) < settledUnended {
		return nil, false, nil
	}
	if after, err := versionOf(f.path); err != nil || after != v {
		return nil, false, err
	}
	f.version = v
	return text, true, nil
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
