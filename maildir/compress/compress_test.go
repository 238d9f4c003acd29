package compress

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// packed compresses text as the package writes it, or as Dovecot writes LZ4.
func packed(t testing.TB, f Format, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if f == LZ4 {
		out.WriteString(lz4Magic + "\x00\x01\x00\x00")
		for len(text) > 0 {
			n := min(len(text), lz4MaxBlock)
			block := make([]byte, lz4.CompressBlockBound(n))
			size, err := lz4.CompressBlock(text[:n], block, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = binary.Write(&out, binary.BigEndian, uint32(size))
			out.Write(block[:size])
			text = text[n:]
		}
		return out.Bytes()
	}
	w, err := NewWriter(&out, f)
	if err != nil {
		t.Fatal(err)
	}
	for len(text) > 0 {
		n, err := w.Write(text[:min(len(text), 1000)])
		if err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func open(data []byte, limit int64) (*Plain, error) {
	return Open(bytes.NewReader(data), int64(len(data)), limit, nil)
}

func mail(size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(size), 1))
	var b bytes.Buffer
	b.WriteString("Subject: x\n\n")
	for b.Len() < size {
		b.WriteString(strings.Repeat("word ", rng.IntN(10)))
		b.WriteByte(byte(rng.Uint32()))
	}
	return b.Bytes()[:max(size, 1)]
}

func TestRoundTrip(t *testing.T) {
	for _, f := range []Format{Gzip, Zstd, LZ4} {
		for _, size := range []int{1, 100, 64 << 10, 64<<10 + 1, inMemory - 1, inMemory, inMemory + 1, 3 << 20} {
			text := mail(size)
			p, err := open(packed(t, f, text), int64(size))
			if err != nil {
				t.Fatalf("%v of %d bytes: %v", f, size, err)
			}
			got := make([]byte, p.Size)
			if _, err := p.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, text) {
				t.Errorf("%v of %d bytes: %d bytes, %v", f, size, len(got), err)
			}
			if _, file := p.ReaderAt.(*os.File); file != (size > inMemory) {
				t.Errorf("%v of %d bytes: in a file is %v", f, size, file)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWhatDovecotWrote reads files that Dovecot 2.3.19 made from one message.
func TestWhatDovecotWrote(t *testing.T) {
	const want = "Subject: x\n\nhello hello hello hello hello hello hello hello\n"
	for name, text := range map[string]string{
		"gzip": "1f8b08000000000000030b2e4dca4a4d2eb152a8e0e2ca48cdc9c957209ae40200030c8f933c000000",
		"zstd": "28b52ffd0058cc0000985375626a6563743a20780a0a68656c6c6f200a0100042a61010000",
		"lz4":  "446f7665636f742d4c5a340d2a9bc5000100000000001dff035375626a6563743a20780a0a68656c6c6f2006001250656c6c6f0a",
	} {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if f := Detect(data); f.String() != name {
			t.Errorf("%s is detected as %q", name, f)
		}
		p, err := open(data, 1000)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestBzip2 reads a file made by the bzip2 program.
func TestBzip2(t *testing.T) {
	data, err := hex.DecodeString("425a68393141592653599ac2aa00000002db8000104000001008001a5486402000228d3d206daa100000a84e0f36a91603e2ee48a70a121358554000")
	if err != nil {
		t.Fatal(err)
	}
	if f := Detect(data); f != Bzip2 {
		t.Fatalf("detected as %q", f)
	}
	p, err := open(data, 100)
	if err != nil || p.Size != 18 {
		t.Errorf("%+v, %v", p, err)
	}
	if f := Detect([]byte("BZh9 is no compressed file")); f != None {
		t.Errorf("detected as %q", f)
	}
}

// TestXZ: a file of the xz program is not served as if it were text.
func TestXZ(t *testing.T) {
	data, err := hex.DecodeString("fd377a585a000004e6d6b4460200210116000000742fe5a30100195375626a6563743a2068656c6c6f0a0a626f647920746578740a000000aab1724b6223123c0001321a201894301fb6f37d010000000004595a")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := open(data, 100); p != nil || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "xz -d") {
		t.Errorf("%v, %v", p, err)
	}
}

func TestNotCompressed(t *testing.T) {
	for _, text := range []string{"", "\x1f", "From: a\n", "Subject: x\n\n", "(\xb5/", "Dovecot-LZ4", "\n\x1f\x8b"} {
		if p, err := open([]byte(text), 10); p != nil || err != nil {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

// TestMembers reads files that consist of several concatenated compressed files, as "cat"
// makes them.
func TestMembers(t *testing.T) {
	for _, f := range []Format{Gzip, Zstd} {
		data := append(packed(t, f, []byte("one")), packed(t, f, []byte("two"))...)
		p, err := open(data, 10)
		if err != nil || p.Size != 6 {
			t.Errorf("%v: %+v, %v", f, p, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	text := mail(100_000)
	for _, f := range []Format{Gzip, Zstd, LZ4} {
		whole := packed(t, f, text)
		for _, n := range []int{MagicLen, 25, len(whole) / 2, len(whole) - 1} {
			if p, err := open(whole[:n], 1<<20); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v cut to %d of %d bytes: %v, %v", f, n, len(whole), p, err)
			}
		}
	}
	for _, text := range []string{
		lz4Magic + "\xff\xff\xff\xff", lz4Magic + "\x00\x00\x00\x00\x00\x00\x00\x01x", lz4Magic + "\x00\x01\x00\x00\xff\xff\xff\xff",
		lz4Magic + "\x00\x01\x00\x00\x00\x00\x00\x00", lz4Magic + "\x00\x00\x00\x01\x00\x00\x00\x02\x10a",
	} {
		if p, err := open([]byte(text), 1<<20); err == nil && p.Size > 1 || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

// TestBombs opens small files that claim to contain much.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 1<<20)
	var gz, zs bytes.Buffer
	g := stdgzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		_, _ = g.Write(zeros)
		_, _ = z.Write(zeros)
	}
	_, _ = g.Close(), z.Close()
	for name, data := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs.Bytes(), "lz4": packed(t, LZ4, make([]byte, 64<<20))} {
		if len(data) > 400<<10 {
			t.Fatalf("%s: %d bytes are no bomb", name, len(data))
		}
		for _, limit := range []int64{1, inMemory, 1 << 20, 64<<20 - 1} {
			if p, err := open(data, limit); !errors.Is(err, ErrTooBig) {
				t.Errorf("%s with limit %d: %v, %v", name, limit, p, err)
			}
		}
		p, err := open(data, 64<<20)
		if err != nil || p.Size != 64<<20 {
			t.Fatalf("%s: %v, %v", name, p, err)
		}
		_ = p.Close()
	}
	// A zstd frame that requires a window of 2 GiB.
	if p, err := open([]byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"), 1<<20); !errors.Is(err, ErrDamaged) {
		t.Errorf("big window: %v, %v", p, err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 && len(p) == MagicLen {
		return copy(p, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x0b\x2e\x4d\xca\x4a\x4d"), nil
	}
	return 0, f.err
}

// TestReadErrors: a disk that cannot be read is not reported as a damaged file.
func TestReadErrors(t *testing.T) {
	bad := errors.New("input/output error")
	if _, err := Open(failing{bad}, 1000, 1000, nil); !errors.Is(err, bad) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestParseFormat(t *testing.T) {
	for name, want := range map[string]Format{"": None, "gzip": Gzip, "zstd": Zstd} {
		if f, err := ParseFormat(name); err != nil || f != want {
			t.Errorf("%q: %v, %v", name, f, err)
		}
	}
	for _, name := range []string{"lz4", "bzip2", "gz", "Gzip"} {
		if _, err := ParseFormat(name); err == nil {
			t.Errorf("%q can be written", name)
		}
	}
}

// FuzzOpen checks that any bytes are read within the limit or give an error, that gzip is
// read as by the standard library, and that any text is the same after it was compressed
// and read.
func FuzzOpen(f *testing.F) {
	for _, format := range []Format{Gzip, Zstd, LZ4} {
		f.Add(packed(f, format, mail(300)))
	}
	f.Add([]byte("Subject: x\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		if len(data) == 0 || len(data) > limit {
			return
		}
		p, err := open(data, limit)
		switch {
		case err != nil:
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrTooBig) {
				t.Fatal(err)
			}
		case p == nil:
			if Detect(data) != None {
				t.Fatal("not read")
			}
		default:
			if p.Size > limit {
				t.Fatalf("%d bytes", p.Size)
			}
			text, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size))
			if err != nil || int64(len(text)) != p.Size {
				t.Fatalf("%d bytes of %d, %v", len(text), p.Size, err)
			}
			_ = p.Close()
			if Detect(data) == Gzip {
				z, err := stdgzip.NewReader(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				if want, err := io.ReadAll(z); err != nil || !bytes.Equal(text, want) {
					t.Fatalf("%q, want %q, %v", text, want, err)
				}
			}
		}
		for _, format := range []Format{Gzip, Zstd, LZ4} {
			p, err := open(packed(t, format, data), limit)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size)); err != nil || !bytes.Equal(text, data) {
				t.Fatalf("%v: %q became %q, %v", format, data, text, err)
			}
			_ = p.Close()
		}
	})
}
