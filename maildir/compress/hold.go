package compress

import (
	"bytes"
	"io"
	"os"
	"sync"

	"maildird/maildir/nameless"
)

// inMemory is the length in bytes of the longest text that is held in memory.
const inMemory = 256 << 10

// hold reads r, which decompresses src, to its end.
func hold(r io.Reader, src *source, scratch *Scratch) (*Plain, error) {
	var buf bytes.Buffer
	n, err := io.CopyN(&buf, r, inMemory+1)
	if err == io.EOF {
		return &Plain{ReaderAt: bytes.NewReader(buf.Bytes()), Size: n}, nil
	}
	if err != nil {
		return nil, src.explain(err)
	}
	file, err := nameless.Create(os.TempDir())
	if err != nil {
		return nil, err
	}
	n, err = copyPlain(file, io.MultiReader(&buf, r), src, scratch)
	release := sync.OnceValue(func() error {
		scratch.give(n)
		return file.Close()
	})
	if err != nil {
		_ = release()
		return nil, err
	}
	return &Plain{ReaderAt: file, Size: n, close: release}, nil
}

// copyPlain is io.Copy, except that it distinguishes errors of the file from those of the
// text. It takes n bytes of scratch.
func copyPlain(file *os.File, r io.Reader, src *source, scratch *Scratch) (n int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		got, rerr := r.Read(buf)
		if got > 0 {
			if err := scratch.take(int64(got)); err != nil {
				return n, err
			}
			n += int64(got)
			if _, err := file.Write(buf[:got]); err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, src.explain(rerr)
		}
	}
}
