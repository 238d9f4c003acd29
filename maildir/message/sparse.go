package message

import "io"

// Sparse is what a source of text may be besides: a file that may have holes,
// which are NULs that no disk holds. A file of gigabytes may consist of them, and
// costs nothing to make; so what is only counted or looked through passes over
// them at once.
type Sparse interface {
	// Hole returns where the hole ends that an offset lies in, or the offset if
	// it lies in none.
	Hole(off int64) int64
}

// holes finds the holes of one source.
type holes struct {
	src Sparse // nil: it has none
	end int64  // nothing is looked for behind it
}

func holesOf(src io.ReaderAt, end int64) holes {
	s, _ := src.(Sparse)
	return holes{s, end}
}

// at returns how many NULs in a hole stand at an offset, 0 where that is less
// than a read brings.
func (h holes) at(off int64) int64 {
	if h.src == nil {
		return 0
	}
	if n := min(h.src.Hole(off), h.end) - off; n >= chunk {
		return n
	}
	return 0
}

// nuls stand for the octets of a hole where its length does not matter. Their
// number does where characters have several octets.
var nuls [8]byte

// Checked gives the octets of a source as long as check returns no error. check
// is asked before each read.
func Checked(src io.ReaderAt, check func() error) io.ReaderAt {
	s, _ := src.(Sparse)
	return &checked{src, s, check}
}

// checked asks before each read.
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
