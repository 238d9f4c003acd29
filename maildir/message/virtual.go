package message

import (
	"bytes"
	"io"
	"sync"
)

// Pos is a place in a message: the offset in the file and in its CRLF form.
type Pos struct{ Phys, Virt int64 }

// chunk is how many bytes of a file are read and converted at once.
const chunk = 32 << 10

// convertBuffer holds a piece of a file, one byte before it, and its CRLF form.
type convertBuffer struct {
	raw [1 + chunk]byte
	out [2 * chunk]byte
}

var convertBuffers = sync.Pool{New: func() any { return new(convertBuffer) }}

// lineEnds counts the LFs in b that have no CR before them. before is the byte before b.
func lineEnds(b []byte, before byte) int64 {
	n := bytes.Count(b, newline)
	if n == 0 {
		return 0
	}
	if before == '\r' && b[0] == '\n' {
		n--
	}
	if bytes.IndexByte(b, '\r') >= 0 {
		n -= bytes.Count(b, crlf)
	}
	return int64(n)
}

var (
	newline = []byte("\n")
	crlf    = []byte("\r\n")
)

// readFull reads len(b) bytes at off, fewer only at the end of the file.
func readFull(src io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := src.ReadAt(b, off)
	if n == len(b) || err == io.EOF {
		err = nil
	}
	return n, err
}

// VirtualSize returns the number of octets of the first size bytes of src in CRLF form.
func VirtualSize(src io.ReaderAt, size int64) (int64, error) {
	n, _, err := RawSize(src, size)
	return n, err
}

// RawSize is VirtualSize, and also reports whether there is a NUL among them.
func RawSize(src io.ReaderAt, size int64) (virtual int64, nul bool, err error) {
	return rawSize(src, 0, size)
}

// rawSize is RawSize for the text between two offsets.
func rawSize(src io.ReaderAt, off, end int64) (virtual int64, nul bool, err error) {
	cb := convertBuffers.Get().(*convertBuffer)
	defer convertBuffers.Put(cb)
	before := byte(0)
	if off > 0 {
		if _, err := readFull(src, cb.raw[:1], off-1); err != nil {
			return 0, false, err
		}
		before = cb.raw[0]
	}
	holes := holesOf(src, end)
	for off < end {
		if n := holes.at(off); n > 0 {
			virtual += n
			off += n
			nul, before = true, 0
			continue
		}
		b := cb.out[:min(int64(len(cb.out)), end-off)]
		n, err := readFull(src, b, off)
		if err != nil {
			return 0, false, err
		}
		if n == 0 {
			break // the file was truncated
		}
		b = b[:n]
		virtual += int64(n) + lineEnds(b, before)
		nul = nul || bytes.IndexByte(b, 0) >= 0
		before = b[n-1]
		off += int64(n)
	}
	return virtual, nul, nil
}

// CopyVirtual writes the CRLF form of the text between from and to: it skips skip octets
// and writes at most limit, or all of them if limit is negative. A NUL, which must not
// occur in an IMAP literal, becomes 0x80. n is how many octets were written, less than
// requested if the file was truncated. at is a place at or before the end of what was
// skipped or written, from which the next piece can be copied without starting over.
func CopyVirtual(w io.Writer, src io.ReaderAt, from, to Pos, skip, limit int64) (n int64, at Pos, err error) {
	return convert(w, src, from, to, skip, limit, false)
}

// CopyRaw is CopyVirtual for the first size bytes of src, with NULs unchanged.
func CopyRaw(w io.Writer, src io.ReaderAt, size, skip, limit int64) (n int64, err error) {
	n, _, err = convert(w, src, Pos{}, Pos{Phys: size}, skip, limit, true)
	return n, err
}

// convert is CopyVirtual; if nuls is set, NULs are unchanged.
func convert(w io.Writer, src io.ReaderAt, from, to Pos, skip, limit int64, nuls bool) (n int64, at Pos, err error) {
	cb := convertBuffers.Get().(*convertBuffer)
	defer convertBuffers.Put(cb)
	if limit < 0 {
		limit = 1 << 62
	}
	at = from
	if at.Phys > 0 {
		// Find out whether an LF at the beginning has a CR before it.
		if _, err := readFull(src, cb.raw[:1], at.Phys-1); err != nil {
			return 0, at, err
		}
	} else {
		cb.raw[0] = 0
	}
	holes := holesOf(src, to.Phys)
	for at.Phys < to.Phys && limit > 0 {
		if hole := min(skip, holes.at(at.Phys)); hole > 0 {
			skip -= hole
			at.Phys += hole
			at.Virt += hole
			cb.raw[0] = 0
			continue
		}
		b := cb.raw[1 : 1+min(chunk, to.Phys-at.Phys)]
		got, err := readFull(src, b, at.Phys)
		if err != nil {
			return n, at, err
		}
		if got == 0 {
			return n, at, nil
		}
		b = b[:got]
		size := int64(got) + lineEnds(b, cb.raw[0])
		if size <= skip {
			skip -= size
		} else {
			out := appendVirtual(cb.out[:0], b, cb.raw[0], nuls)
			out = out[skip:]
			skip = 0
			last := int64(len(out)) >= limit
			if last {
				out = out[:limit]
			}
			m, err := w.Write(out)
			n += int64(m)
			limit -= int64(m)
			if err != nil {
				return n, at, err
			}
			if last {
				return n, at, nil // at remains at the start of this piece
			}
		}
		at.Phys += int64(got)
		at.Virt += size
		cb.raw[0] = b[got-1]
	}
	return n, at, nil
}

// AppendVirtual appends the CRLF form of b, which contains no NUL, to out. before is the
// byte before b.
func AppendVirtual(out, b []byte, before byte) []byte { return appendVirtual(out, b, before, true) }

// appendVirtual is AppendVirtual for a b that may contain NULs. Unless nuls is set, it
// replaces them by 0x80, in b too.
func appendVirtual(out, b []byte, before byte, nuls bool) []byte {
	if !nuls && bytes.IndexByte(b, 0) >= 0 {
		for i, c := range b {
			if c == 0 {
				b[i] = 0x80
			}
		}
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return append(out, b...)
		}
		if i > 0 {
			before = b[i-1]
		}
		out = append(out, b[:i]...)
		if before != '\r' {
			out = append(out, '\r')
		}
		out = append(out, '\n')
		before = '\n'
		b = b[i+1:]
	}
	return out
}

// virtualReader reads the text between two places in CRLF form, or as it is in the file,
// with NULs unchanged.
type virtualReader struct {
	src      io.ReaderAt
	off, end int64
	before   byte
	asIs     bool // with the line ends of the file
	squeeze  bool // represent a hole by a few NULs
	holes    holes
	out      []byte
	raw, buf []byte // buffers; buf is twice as large as raw
}

// readerChunk is the buffer size of a reader for a single part.
const readerChunk = 8 << 10

func newVirtualReader(src io.ReaderAt, from, to Pos) *virtualReader {
	r := &virtualReader{raw: make([]byte, readerChunk), buf: make([]byte, 2*readerChunk)}
	r.reset(src, from, to)
	return r
}

// reset restarts the reader elsewhere.
func (r *virtualReader) reset(src io.ReaderAt, from, to Pos) {
	r.src, r.off, r.end, r.before, r.out = src, from.Phys, to.Phys, 0, nil
	r.holes = holesOf(src, r.end)
	if from.Phys > 0 {
		_, _ = readFull(src, r.raw[:1], from.Phys-1) // an error occurs again below
		r.before = r.raw[0]
	}
}

func (r *virtualReader) Read(p []byte) (int, error) {
	if n := r.hole(); n > 0 {
		r.off += n
		r.before = 0
		r.out = append(r.buf[:0], nuls[:int64(len(nuls))/2+n%(int64(len(nuls))/2)]...)
	}
	if len(r.out) == 0 {
		b := r.raw[:min(int64(len(r.raw)), r.end-r.off)]
		direct := r.asIs && len(p) >= len(b)
		if direct {
			b = p[:min(int64(len(p)), r.end-r.off)]
		}
		if len(b) == 0 {
			return 0, io.EOF
		}
		n, err := readFull(r.src, b, r.off)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
		r.off += int64(n)
		if direct {
			return n, nil
		}
		r.out = b[:n]
		if !r.asIs {
			r.out = appendVirtual(r.buf[:0], b[:n], r.before, true)
			r.before = b[n-1]
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// rest implements decoder. In the place, only the offset in the file is set.
func (r *virtualReader) rest() (place, bool) {
	return place{at: Pos{Phys: r.off}}, len(r.out) == 0
}

// hole returns how many NULs follow that need not be read.
func (r *virtualReader) hole() int64 {
	if !r.squeeze || len(r.out) > 0 {
		return 0
	}
	return r.holes.at(r.off)
}
