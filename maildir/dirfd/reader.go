package dirfd

import (
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Reader is a regular file that is open for reading. The other things that os.File does
// (the network poller, a path, a finalizer) cost more than reading a short message. Without
// them, a Reader that is not closed stays open. ReadAt may be called concurrently, but
// Close must not run concurrently with anything else. The zero Reader is closed.
type Reader struct {
	fd        int // plus one; 0: closed
	size      int64
	sparse    bool
	inode     uint32
	mtime     time.Time
	dir, name string // for error texts
	disk      *Places
}

// OpenReader opens a file into r, which must be closed. It has the same checks as Open.
func (d *Dir) OpenReader(r *Reader, name string) error {
	return d.do("open", name, func(fd int) error {
		var st unix.Stat_t
		n, err := d.openChecked(fd, name, unix.O_RDONLY, &st)
		if err != nil {
			return err
		}
		*r = Reader{fd: n + 1, size: st.Size, sparse: st.Blocks*512 < st.Size, inode: InodeSum(st.Ino), mtime: time.Unix(st.Mtim.Unix()), dir: d.path, name: name, disk: d.disk}
		return nil
	})
}

// Size returns the size of the file in bytes when it was opened.
func (r *Reader) Size() int64 { return r.size }

// Mtime returns the modification time of the file when it was opened.
func (r *Reader) Mtime() time.Time { return r.mtime }

// InodeSum returns the InodeSum of the file's inode number.
func (r *Reader) InodeSum() uint32 { return r.inode }

// Hole returns the end of the hole in which an offset lies, or the offset if it does not
// lie in one.
func (r *Reader) Hole(off int64) int64 {
	if !r.sparse || r.fd == 0 {
		return off
	}
	if begin, _, ok := dataAt(r.fd-1, off, r.size); ok {
		return begin
	}
	return r.size
}

// Path returns the path by which the file was opened, for messages to people.
func (r *Reader) Path() string { return r.dir + "/" + r.name }

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if r.fd == 0 {
		return 0, r.failed("read", fs.ErrClosed)
	}
	if err := r.disk.Begin(); err != nil {
		return 0, r.failed("read", err)
	}
	defer r.disk.Leave()
	for n < len(p) {
		m, err := unix.Pread(r.fd-1, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, r.failed("read", err)
		case m == 0:
			return n, io.EOF
		default:
			n += m
		}
	}
	return n, nil
}

// Close closes the file. A second call does nothing.
func (r *Reader) Close() error {
	if r.fd == 0 {
		return nil
	}
	fd := r.fd - 1
	r.fd = 0
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return r.failed("close", err)
	}
	return nil
}

func (r *Reader) failed(op string, err error) error {
	return &fs.PathError{Op: op, Path: r.Path(), Err: err}
}
