package mailbox

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"maildird/maildir/compress"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// TestCopyOfSparseFile: if no hard link can be made, the copy has the octets of its
// original, and its holes.
func TestCopyOfSparseFile(t *testing.T) {
	for _, format := range []compress.Format{compress.None, compress.Gzip} {
		t.Run(format.String(), func(t *testing.T) {
			env := newEnv(t)
			env.Delivery.Compress = format
			src, dst := newBox(t), newBox(t)
			name := src.file("cur/17.M1P1.sparse:2,")
			size := int64(3 << 20)
			if format == compress.None {
				size = 1 << 40
			}
			must(t, os.WriteFile(name, []byte("Subject: x\n\n"), 0o600))
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			must(t, err)
			for _, at := range []int64{2 << 20, size - 5} {
				_, err = f.WriteAt([]byte("tail\n"), at)
				must(t, err)
			}
			must(t, f.Close())
			m, into := src.open(env), dst.open(env)
			defer m.Close()
			defer into.Close()
			e, err := into.copyBytes(ctx, m, entry{where: table.InCur, name: filepath.Base(name)}, filename.Seen)
			must(t, err)
			if s, w := filename.Sizes(filename.Base(e.name)); s != size || w != size+4 {
				t.Errorf("the copy is called %s", e.name)
			}
			file, err := into.dirs.in(e.where).Open(e.name)
			must(t, err)
			st, err := file.Stat()
			must(t, err)
			if room := st.Sys().(*syscall.Stat_t).Blocks * 512; room > 8<<20 {
				t.Errorf("the copy takes %d bytes", room)
			}
			must(t, file.Close())
			var copied File
			must(t, copied.open(into.dirs.in(e.where), e.name, noRoom, nil))
			defer copied.Close()
			for at, want := range map[int64]string{0: "Subject: x\n\n\x00", 2<<20 - 1: "\x00tail\n\x00", size - 6: "\x00tail\n"} {
				got := make([]byte, len(want))
				if _, err := copied.ReadAt(got, at); err != nil || !bytes.Equal(got, []byte(want)) {
					t.Errorf("at %d: %q, %v, want %q", at, got, err, want)
				}
			}
			if copied.Size != size {
				t.Errorf("the copy has %d bytes, want %d", copied.Size, size)
			}
		})
	}
}
