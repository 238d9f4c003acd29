package message

import "io"

// Sparse may be implemented by a source of text that is a file with holes, which are NULs
// that take no disk space. A file of gigabytes may consist of holes, and costs nothing to
// create; therefore, operations that only count or search skip holes at once.
type Sparse interface {
	// Hole returns the end of the hole in which an offset lies, or the offset if it does
	// not lie in one.
	Hole(off int64) int64
}

// holes finds the holes of one source.
type holes struct {
	src Sparse // nil: the source has none
	end int64  // holes after it are ignored
}

func holesOf(src io.ReaderAt, end int64) holes {
	s, _ := src.(Sparse)
	return holes{s, end}
}

// at returns the number of NULs of a hole at an offset, or 0 if that is less than one read
// returns.
func (h holes) at(off int64) int64 {
	if h.src == nil {
		return 0
	}
	if n := min(h.src.Hole(off), h.end) - off; n >= chunk {
		return n
	}
	return 0
}

// nuls represent the octets of a hole if its length does not matter. Their number matters
// for charsets in which characters consist of several octets.
var nuls [8]byte

// Checked returns a reader of a source that calls check before each read, and fails if
// check returns an error.
func Checked(src io.ReaderAt, check func() error) io.ReaderAt {
	s, _ := src.(Sparse)
	return &checked{src, s, check}
}

// checked calls check before each read.
type checked struct {
	src    io.ReaderAt
	sparse Sparse // nil: it has no holes
	check  func() error
}

func (c *checked) ReadAt(p []byte, off int64) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.src.ReadAt(p, off)
}

func (c *checked) Hole(off int64) int64 {
	if c.sparse == nil {
		return off
	}
	return c.sparse.Hole(off)
}
