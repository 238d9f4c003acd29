package delivery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir/compress"
)

// plainContents returns the decompressed contents of the files in a subdirectory.
func (f *testFolder) plainContents(sub string, want compress.Format) []string {
	f.t.Helper()
	var out []string
	for _, name := range f.names(sub) {
		data, err := os.ReadFile(filepath.Join(f.path, sub, name))
		must(f.t, err)
		if got := compress.Detect(data); got != want {
			f.t.Errorf("%s is %q, want %q", name, got, want)
		}
		file, err := os.Open(filepath.Join(f.path, sub, name))
		must(f.t, err)
		p, err := compress.Open(file, int64(len(data)), 1<<30, nil)
		must(f.t, err)
		text, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size))
		must(f.t, err)
		_, _ = p.Close(), file.Close()
		virtual := len(text) + strings.Count(string(text), "\n")
		if !strings.HasSuffix(name, fmt.Sprintf(",S=%d,W=%d", len(text), virtual)) {
			f.t.Errorf("%s holds %d bytes, %d octets as CRLF", name, len(text), virtual)
		}
		out = append(out, string(text))
	}
	return out
}

// TestCompressedSpool delivers small and big messages to one and several folders: each gets
// a complete compressed file, whose name has the uncompressed sizes.
func TestCompressedSpool(t *testing.T) {
	for _, format := range []compress.Format{compress.Gzip, compress.Zstd} {
		for _, size := range []int{10, 5000, spoolMemory - 20, spoolMemory + 1, 300_000} {
			for _, each := range []bool{false, true} {
				o := &Options{Host: "test", PID: 1, Compress: format}
				var folders []*testFolder
				var targets []Target
				for i := range 3 {
					f := newFolder(t)
					folders = append(folders, f)
					targets = append(targets, f.target(fmt.Sprintf("Delivered-To: user%d@example.org\n", i*1000)))
				}
				body := strings.Repeat("Subject: x\n", size/11+1)[:size]
				s := NewSpool(targets, each, o)
				for _, piece := range []string{body[:size/3], body[size/3:]} {
					if _, err := s.Write([]byte(piece)); err != nil {
						t.Fatal(err)
					}
				}
				for i, err := range s.Commit() {
					must(t, err)
					got := folders[i].plainContents("new", format)
					if want := string(targets[i].Header) + body; len(got) != 1 || got[0] != want {
						t.Errorf("%v, %d bytes, each %v: folder %d has %d messages", format, size, each, i, len(got))
					}
					if left := folders[i].names("tmp"); len(left) > 0 {
						t.Errorf("%v, %d bytes: tmp/ has %q", format, size, left)
					}
				}
			}
		}
	}
}

// TestCompressedTemp writes one file, and aborts others half-written.
func TestCompressedTemp(t *testing.T) {
	f := newFolder(t)
	d := f.open()
	defer d.Close()
	o := &Options{Host: "test", PID: 1, Compress: compress.Zstd}
	for range 3 {
		given, err := NewTemp(d, o)
		must(t, err)
		_, err = given.Write([]byte("half"))
		must(t, err)
		given.Abort()
	}
	temp, err := NewTemp(d, o)
	must(t, err)
	defer temp.Abort()
	text := strings.Repeat("text\n", 1000)
	_, err = temp.Write([]byte(text))
	must(t, err)
	_, err = temp.Finish(time.Unix(1, 0))
	must(t, err)
	_, err = temp.Commit(d.New, "")
	must(t, err)
	if got := f.plainContents("new", compress.Zstd); len(got) != 1 || got[0] != text {
		t.Errorf("%d messages", len(got))
	}
	if left := f.names("tmp"); len(left) > 0 {
		t.Errorf("tmp/ has %q", left)
	}
}

// TestCompressedDataIsNoMail: a message that starts like a compressed file would not be
// read back as it was written.
func TestCompressedDataIsNoMail(t *testing.T) {
	for _, format := range []compress.Format{compress.None, compress.Gzip} {
		f := newFolder(t)
		d := f.open()
		temp, err := NewTemp(d, &Options{Host: "test", PID: 1, Compress: format})
		must(t, err)
		for _, piece := range []string{"\x1f", "\x8b\x08 and more"} {
			_, err = temp.Write([]byte(piece))
			must(t, err)
		}
		if _, err := temp.Finish(time.Time{}); !errors.Is(err, ErrCompressed) {
			t.Errorf("%q: %v", format, err)
		}
		temp.Abort()
		d.Close()
	}
}
