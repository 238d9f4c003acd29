package compress

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// Dovecot has its own framing for LZ4 blocks (lib-compression/iostream-lz4.h): the magic,
// the length of the longest decompressed block, then each block preceded by its length;
// lengths have 32 bits, big-endian.
const (
	lz4Magic    = "Dovecot-LZ4\x0d\x2a\x9b\xc5"
	lz4MaxBlock = 64 << 10 // what Dovecot writes, and the most that it reads
)

// lz4Reader reads blocks one after another, and holds each of them in memory.
type lz4Reader struct {
	src  io.Reader
	in   []byte
	room []byte // for one block
	out  []byte // the part of it that was not read yet
}

var errLZ4 = errors.New("bad lz4 block")

func newLZ4Reader(src io.Reader) (io.ReadCloser, error) {
	var head [len(lz4Magic) + 4]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return nil, err
	}
	longest := binary.BigEndian.Uint32(head[len(lz4Magic):])
	if longest == 0 || longest > lz4MaxBlock {
		return nil, errLZ4
	}
	return &lz4Reader{src: src, room: make([]byte, longest)}, nil
}

func (r *lz4Reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if err := r.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// block reads the next block; io.EOF after the last.
func (r *lz4Reader) block() error {
	var head [4]byte
	if _, err := io.ReadFull(r.src, head[:]); err != nil {
		return err // io.EOF if there is no other block
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || int64(size) > int64(lz4.CompressBlockBound(len(r.room))) {
		return errLZ4
	}
	if cap(r.in) < int(size) {
		r.in = make([]byte, size)
	}
	r.in = r.in[:size]
	if _, err := io.ReadFull(r.src, r.in); err != nil {
		return io.ErrUnexpectedEOF
	}
	n, err := lz4.UncompressBlock(r.in, r.room)
	if err != nil {
		return errLZ4
	}
	r.out = r.room[:n]
	return nil
}

func (*lz4Reader) Close() error { return nil }
