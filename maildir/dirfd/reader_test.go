package dirfd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReader: Reader and os.File read the same from a file.
func TestReader(t *testing.T) {
	d, path := openTemp(t)
	want := bytes.Repeat([]byte("0123456789"), 1000)
	when := time.Unix(1_700_000_000, 123_456_789)
	must(t, os.WriteFile(filepath.Join(path, "file"), want, 0o600))
	must(t, os.Chtimes(filepath.Join(path, "file"), when, when))
	var r Reader
	must(t, d.OpenReader(&r, "file"))
	if r.Size() != int64(len(want)) || !r.Mtime().Equal(when) || r.Path() != filepath.Join(path, "file") {
		t.Errorf("%d bytes of %s at %s", r.Size(), r.Mtime(), r.Path())
	}
	for _, at := range []struct{ off, n int }{{0, 10}, {0, 10_000}, {0, 20_000}, {9_999, 1}, {9_999, 2}, {10_000, 1}, {20_000, 1}, {5, 0}} {
		got := make([]byte, at.n)
		n, err := r.ReadAt(got, int64(at.off))
		rest := want[min(at.off, len(want)):]
		if full := min(at.n, len(rest)); n != full || !bytes.Equal(got[:n], rest[:full]) || (err == io.EOF) != (full < at.n) || err != nil && err != io.EOF {
			t.Errorf("%d bytes at %d: %d, %v", at.n, at.off, n, err)
		}
	}
	must(t, r.Close())
	must(t, r.Close())
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read of a closed one: %v", err)
	}
	if err := d.OpenReader(&r, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestReaderRefusals: OpenReader refuses what Open refuses, and leaves no descriptor open.
func TestReaderRefusals(t *testing.T) {
	d, path := openTemp(t)
	names := hostileNames(t, path)
	before := descriptors(t)
	for _, name := range names {
		var r Reader
		if err := d.OpenReader(&r, name); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), name) {
			t.Errorf("OpenReader(%q): %v, want ErrNotRegular", name, err)
		}
		if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a Reader of %q is open", name)
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\x00b"} {
		var r Reader
		if err := d.OpenReader(&r, name); !errors.Is(err, ErrBadName) {
			t.Errorf("OpenReader(%q): %v, want ErrBadName", name, err)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// BenchmarkOpenReader opens, reads and closes a short message, compared with os.File.
func BenchmarkOpenReader(b *testing.B) {
	path := b.TempDir()
	d, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	const name = "1700000000.M1P1.host:2,S"
	if err := os.WriteFile(filepath.Join(path, name), make([]byte, 6000), 0o600); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 6000)
	b.Run("reader", func(b *testing.B) {
		b.ReportAllocs()
		var r Reader
		for b.Loop() {
			if err := d.OpenReader(&r, name); err != nil {
				b.Fatal(err)
			}
			_, _ = r.ReadAt(buf, 0)
			_ = r.Close()
		}
	})
	b.Run("os.File", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := d.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = f.Stat()
			_, _ = f.ReadAt(buf, 0)
			_ = f.Close()
		}
	})
}
