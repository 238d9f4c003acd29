// Package compress reads and writes message files that are compressed as a whole, as by
// Dovecot's mail-compression plugin ("zlib"). The name of such a file does not show it, but
// its first bytes do. "S=" and "W=" in the name are sizes of the uncompressed message.
package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Format is a compression format.
type Format uint8

// The formats that Dovecot 2.3.19 reads. Gzip and Zstd can be read and written; LZ4 (in
// Dovecot's own framing) and Bzip2 can only be read. XZ is recognised, so that nobody takes
// it for text, but counts as damaged: Dovecot cannot write it, and how much memory a reader
// needs is up to the file.
const (
	None Format = iota
	Gzip
	Zstd
	LZ4
	Bzip2
	XZ
)

var names = []string{"", "gzip", "zstd", "lz4", "bzip2", "xz"}

func (f Format) String() string { return names[f] }

// ParseFormat parses the name of a format that can be written; "" is None.
func ParseFormat(name string) (Format, error) {
	if i := slices.Index(names[:LZ4], name); i >= 0 {
		return Format(i), nil
	}
	return None, fmt.Errorf(`%q is not "", "gzip" or "zstd"`, name)
}

// magics are the prefixes by which Dovecot (lib-compression) recognises formats.
var magics = []struct {
	Format
	begin []byte
}{
	{Gzip, []byte{0x1f, 0x8b}},
	{Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd}},
	{LZ4, []byte(lz4Magic)},
	{Bzip2, []byte("BZh")},
	{XZ, []byte("\xfd7zXZ\x00")},
}

// MagicLen is how many of the first bytes of a file Detect needs.
const MagicLen = 16

// bzip2Block follows the digit after "BZh".
const bzip2Block = "1AY&SY"

// Detect determines the format of a file from its first bytes. No mail starts with these
// bytes, because none of them can start a header field.
func Detect(begin []byte) Format {
	for _, m := range magics {
		if !bytes.HasPrefix(begin, m.begin) {
			continue
		}
		if m.Format == Bzip2 && (len(begin) < 10 || string(begin[4:10]) != bzip2Block) {
			continue
		}
		return m.Format
	}
	return None
}

// Limit is the maximum length in bytes of a compressed file's text: a few kilobytes can
// expand to any amount.
const Limit = 1 << 30

// Errors from reading.
var (
	errXZ      = errors.New("the format xz is not supported: decompress it with xz -d")
	ErrDamaged = errors.New("compressed file is damaged")
	ErrTooBig  = errors.New("compressed file is too big when decompressed")
)

// Plain is the decompressed text of a file, to be closed after use. It is safe for
// concurrent use.
type Plain struct {
	io.ReaderAt
	Size  int64
	close func() error
}

// Close releases the memory or the temporary file of the text.
func (p *Plain) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// Open decompresses the file of size bytes. The text is held in memory or, if it is long,
// in a nameless temporary file whose size counts in scratch. Open returns nil if the file
// is not compressed. Errors are ErrDamaged, ErrTooBig for a text of more than limit bytes,
// ErrScratch, and those of reading and of the temporary file.
func Open(file io.ReaderAt, size, limit int64, scratch *Scratch) (*Plain, error) {
	var begin [MagicLen]byte
	n, err := file.ReadAt(begin[:min(size, MagicLen)], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	f := Detect(begin[:n])
	if f == None {
		return nil, nil
	}
	src := &source{Reader: io.NewSectionReader(file, 0, size)}
	r, err := newReader(src, f)
	if err != nil {
		return nil, src.explain(err)
	}
	defer r.Close()
	p, err := hold(io.LimitReader(r, limit+1), src, scratch)
	if err != nil {
		return nil, err
	}
	if p.Size > limit {
		_ = p.Close()
		return nil, ErrTooBig
	}
	return p, nil
}

// source distinguishes errors from reading the file from errors in its contents.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain returns what an error from decompression means.
func (s *source) explain(err error) error {
	if s.err != nil {
		return s.err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}
