package dirfd

import (
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Reader is a regular file that is open for reading. What os.File does beside
// (the network poller, a path, a finalizer) costs more than reading a short
// message; so a Reader that nobody closes stays open. ReadAt may be called
// concurrently, Close not with anything else. The zero Reader is closed.
type Reader struct {
	fd        int // plus one; 0: closed
	size      int64
	sparse    bool
	inode     uint32
	mtime     time.Time
	dir, name string // for error texts
}

// OpenReader opens a file into r, which must be closed. It refuses what Open
// refuses.
func (d *Dir) OpenReader(r *Reader, name string) error {
	return d.do("open", name, func(fd int) error {
		var st unix.Stat_t
		n, err := d.openChecked(fd, name, unix.O_RDONLY, &st)
		if err != nil {
			return err
		}
		*r = Reader{fd: n + 1, size: st.Size, sparse: st.Blocks*512 < st.Size, inode: InodeSum(st.Ino), mtime: time.Unix(st.Mtim.Unix()), dir: d.path, name: name}
		return nil
	})
}

// Size returns the bytes of the file when it was opened.
func (r *Reader) Size() int64 { return r.size }

// Mtime returns the modification time of the file when it was opened.
func (r *Reader) Mtime() time.Time { return r.mtime }

// InodeSum is that of the file's inode number.
func (r *Reader) InodeSum() uint32 { return r.inode }

// Hole returns where the hole of the file ends that an offset lies in, or the
// offset if it lies in none.
func (r *Reader) Hole(off int64) int64 {
	if !r.sparse || r.fd == 0 {
		return off
	}
	if begin, _, ok := dataAt(r.fd-1, off, r.size); ok {
		return begin
	}
	return r.size
}

// Path returns the path by which the file was reached, for messages to people.
func (r *Reader) Path() string { return r.dir + "/" + r.name }

// ReadAt is that of io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if r.fd == 0 {
		return 0, r.failed("read", fs.ErrClosed)
	}
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

// Close gives the descriptor back. A second Close does nothing.
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
