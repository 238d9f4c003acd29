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

// File is a text file of the operator's that is reread when it changes. Only one goroutine at a
// time may use it.
//
// Other programs write it in any way: in place, or after removing it like vim, and in
// pieces. If half of a file were used, mail for the users who are missing in it would bounce
// or go to the catch-all, and their sessions would end. A changed file is therefore only
// used once it has not changed for a while. That is judged by comparing its state at
// intervals, not by its times, which are of another clock. If the file ends in the middle of
// a line, the wait is longer.
type File struct {
	path string
	what string // its contents for errors and the log, such as "users"
	log  *slog.Logger

	version fileVersion // that was read last
	seen    fileVersion // at the last look, if it differed
	since   time.Time   // when seen was first seen
	told    time.Time   // when the log last mentioned that the file cannot be read
}

const (
	// settled is how long a file must not change to be considered complete.
	settled = 3 * time.Second / 4
	// settledUnended is the same for a file whose last line has no line end.
	settledUnended = 10 * time.Second
)

// tellInterval is how often it is logged that the file cannot be read.
const tellInterval = time.Minute

// fileVersion identifies a state of a file.
type fileVersion struct {
	ino          uint64
	born         unix.StatxTimestamp // zero if the file system does not report it
	size         uint64
	mtime, ctime unix.StatxTimestamp
}

// NewFile returns a File for path, which contains what ("users"). It does not
// read the file yet.
func NewFile(path, what string, log *slog.Logger) *File {
	return &File{path: path, what: what, log: log}
}

// Read reads the file unconditionally.
func (f *File) Read() ([]byte, error) {
	text, v, err := readFile(f.path, f.what)
	if err != nil {
		return nil, err
	}
	f.version = v
	return text, nil
}

// Changed returns the contents of the file if it has changed since it was last read and
// is complete. A file that cannot be read counts as unchanged, and is logged. Changed
// must be called regularly.
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

// readWhole reads version v, unless it turns out to be incomplete.
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

// readFile reads a file that contains what, without the byte order mark that some editors
// write, and returns its version before the read. It refuses files that are not regular,
// because reading a FIFO or device might never end.
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
