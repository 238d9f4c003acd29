package watch

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"maildird/maildir/dirfd"
)

// BenchmarkAdd watches a folder many of whose names the kernel has cached.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := New(slog.New(slog.DiscardHandler))
			defer w.Close()
			path := b.TempDir()
			for i := range n {
				if err := os.WriteFile(filepath.Join(path, strconv.Itoa(i)), nil, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			dir, err := dirfd.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			for b.Loop() {
				wa, err := w.Add(dir, func(Event) {})
				if err != nil {
					b.Fatal(err)
				}
				wa.Close()
			}
		})
	}
}
