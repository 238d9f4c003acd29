package compress

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Writer compresses what is written to it. Close completes the file; after that, or after
// Discard, the Writer must not be used any more.
type Writer struct {
	encoder
	pool *sync.Pool
}

// encoder is the common interface of the libraries' writers.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

var gzipWriters, zstdWriters sync.Pool

// NewWriter returns a Writer to w. f is Gzip or Zstd.
func NewWriter(w io.Writer, f Format) (*Writer, error) {
	pool := &gzipWriters
	if f == Zstd {
		pool = &zstdWriters
	}
	if e, ok := pool.Get().(encoder); ok {
		e.Reset(w)
		return &Writer{e, pool}, nil
	}
	if f == Gzip {
		return &Writer{gzip.NewWriter(w), pool}, nil
	}
	e, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	return &Writer{e, pool}, nil
}

// Close writes what is left.
func (w *Writer) Close() error {
	err := w.encoder.Close()
	w.Discard()
	return err
}

// Discard abandons the file.
func (w *Writer) Discard() {
	if w.pool != nil {
		w.Reset(io.Discard)
		w.pool.Put(w.encoder)
		w.pool = nil
	}
}
