package compress

import (
	"bufio"
	"compress/bzip2"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// newReader returns a reader that decompresses r.
func newReader(r io.Reader, f Format) (io.ReadCloser, error) {
	switch f {
	case Gzip:
		return pooledGzip(r)
	case Zstd:
		return pooledZstd(r)
	case LZ4:
		return newLZ4Reader(r)
	case XZ:
		return nil, errXZ
	default:
		return io.NopCloser(bzip2.NewReader(bufio.NewReader(r))), nil
	}
}

// Readers keep their tables, which are large compared with what one file needs.
var (
	gzipReaders sync.Pool
	zstdReaders sync.Pool
)

// gzipReader returns to its pool when it is closed.
type gzipReader struct{ *gzip.Reader }

func pooledGzip(r io.Reader) (io.ReadCloser, error) {
	if z, ok := gzipReaders.Get().(*gzip.Reader); ok {
		if err := z.Reset(r); err != nil {
			gzipReaders.Put(z)
			return nil, err
		}
		return gzipReader{z}, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return gzipReader{z}, nil
}

func (z gzipReader) Close() error {
	err := z.Reader.Close()
	gzipReaders.Put(z.Reader)
	return err
}

// maxWindow limits the memory that a zstd file can require: the levels up to 19 need 8 MiB.
const maxWindow = 16 << 20

// zstdReader returns to its pool when it is closed.
type zstdReader struct{ *zstd.Decoder }

func pooledZstd(r io.Reader) (io.ReadCloser, error) {
	if z, ok := zstdReaders.Get().(*zstd.Decoder); ok {
		if err := z.Reset(r); err != nil {
			zstdReaders.Put(z)
			return nil, err
		}
		return zstdReader{z}, nil
	}
	// Without concurrency, there are no goroutines that would have to be stopped.
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return zstdReader{z}, nil
}

func (z zstdReader) Close() error {
	err := z.Reset(nil)
	zstdReaders.Put(z.Decoder)
	return err
}
