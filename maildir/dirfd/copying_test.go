package dirfd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopyContent: the copy has the same bytes as the original, and no more blocks, however
// large the hole in it.
func TestCopyContent(t *testing.T) {
	_, path := openTemp(t)
	for _, c := range []struct {
		name  string
		write func(f *os.File) error
	}{
		{"empty", func(*os.File) error { return nil }},
		{"text", func(f *os.File) error { _, err := f.WriteString("Subject: x\n\nbody\n"); return err }},
		{"hole only", func(f *os.File) error { return f.Truncate(5 << 30) }},
		{"data between holes", func(f *os.File) error {
			_, err := f.WriteAt(bytes.Repeat([]byte("data\n"), 4000), 1<<30)
			if err == nil {
				err = f.Truncate(3 << 30)
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, err := os.CreateTemp(path, "src")
			must(t, err)
			defer src.Close()
			must(t, c.write(src))
			dst, err := os.CreateTemp(path, "dst")
			must(t, err)
			defer dst.Close()
			_, err = CopyContent(&File{File: dst}, &File{File: src})
			must(t, err)
			var a, b unix.Stat_t
			must(t, unix.Fstat(int(src.Fd()), &a))
			must(t, unix.Fstat(int(dst.Fd()), &b))
			if a.Size != b.Size || 512*b.Blocks > 512*a.Blocks+64<<10 {
				t.Errorf("copy has %d bytes in %d of disk, the original %d in %d", b.Size, 512*b.Blocks, a.Size, 512*a.Blocks)
			}
			var x, y [64 << 10]byte
			for _, at := range []int64{0, 1 << 30} {
				n, _ := src.ReadAt(x[:], at)
				m, _ := dst.ReadAt(y[:], at)
				if n != m || !bytes.Equal(x[:n], y[:m]) {
					t.Errorf("bytes at %d differ", at)
				}
			}
		})
	}
}

func TestTakeRights(t *testing.T) {
	d, path := openTemp(t)
	must(t, d.Mkdir("a"))
	must(t, os.Chmod(filepath.Join(path, "a"), 0o770|fs.ModeSetgid))
	must(t, d.Mkdir("b"))
	from, err := d.Lstat("a")
	must(t, err)
	b, err := d.OpenDir("b")
	must(t, err)
	defer b.Close()
	must(t, b.TakeRights(from))
	if got, err := b.Stat(); err != nil || got.Mode != from.Mode {
		t.Errorf("mode %v, %v, want %v", got.Mode, err, from.Mode)
	}
	must(t, b.SyncAll())
	must(t, d.Symlink("b", "link"))
	if _, err := d.OpenDir("link"); err == nil {
		t.Error("the link was followed")
	}
}

func TestChmod(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "f"), nil, 0o600))
	must(t, os.Chmod(filepath.Join(path, "f"), 0))
	must(t, os.Symlink("f", filepath.Join(path, "link")))
	must(t, d.Chmod("f", 0o640))
	if st, err := d.Lstat("f"); err != nil || st.Mode != 0o640 {
		t.Errorf("mode %v, %v", st.Mode, err)
	}
	if err := d.Chmod("link", 0o777); !errors.Is(err, ErrNotRegular) {
		t.Errorf("Chmod of a symbolic link: %v", err)
	}
}
