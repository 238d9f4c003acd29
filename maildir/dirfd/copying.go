package dirfd

import (
	"io"

	"golang.org/x/sys/unix"
)

// CopyContent copies the content of src to dst, which must be empty: by sharing blocks
// where the file system supports that (FICLONE), and otherwise by copying the bytes,
// leaving out holes. It reports whether blocks are shared.
func CopyContent(dst, src *File) (shared bool, err error) {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return true, nil
	}
	st, err := src.Stat()
	if err != nil {
		return false, err
	}
	size := st.Size()
	for at := int64(0); at < size; {
		begin, end, ok := DataAt(src, at, size)
		if !ok {
			break
		}
		if _, err := dst.Seek(begin, io.SeekStart); err != nil {
			return false, err
		}
		n, err := io.Copy(dst, io.NewSectionReader(src, begin, end-begin))
		if err != nil {
			return false, err
		}
		if n < end-begin {
			size = begin + n // it was truncated meanwhile
			break
		}
		at = end
	}
	return false, dst.Truncate(size)
}

// DataAt returns the first stretch of data at or after offset at in a file of this size,
// skipping holes. ok is false if there is none.
func DataAt(f Handle, at, size int64) (begin, end int64, ok bool) {
	return dataAt(int(f.Fd()), at, size)
}

func dataAt(fd int, at, size int64) (begin, end int64, ok bool) {
	begin, err := unix.Seek(fd, at, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return 0, 0, false
	}
	if err != nil {
		return at, size, true // this file system does not report holes
	}
	end, err = unix.Seek(fd, begin, unix.SEEK_HOLE)
	if err != nil {
		end = size
	}
	end = min(end, size)
	return begin, end, begin < end
}
