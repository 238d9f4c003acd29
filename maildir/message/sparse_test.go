package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// holed is a text that reports where its runs of NULs are.
type holed struct {
	*bytes.Reader
	ends []int64 // by offset
}

func newHoled(text []byte) *holed {
	h := &holed{Reader: bytes.NewReader(text), ends: make([]int64, len(text)+1)}
	for i := len(text); i >= 0; i-- {
		h.ends[i] = int64(i)
		if i < len(text) && text[i] == 0 {
			h.ends[i] = h.ends[i+1]
		}
	}
	return h
}

func (h *holed) Hole(off int64) int64 { return h.ends[off] }

// holedText returns mail with short and long holes everywhere.
func holedText(rng *rand.Rand) []byte {
	pieces := []string{
		"Subject: x\n", "Content-Type: multipart/mixed; boundary=b\n", "Content-Type: multipart/mixed; boundary=\"b c\"\r\n", "\n", "\r\n", "\r", "--b", "--b\n",
		"\n--b\n", "\r\n--b--\r\n", "text, text", "Content-Transfer-Encoding: base64\n", "SGVsbG8=\n", " folded\n", "Content-Type: message/rfc822\n\n", "--b c\n",
	}
	var b bytes.Buffer
	for range 3 + rng.IntN(20) {
		piece := pieces[rng.IntN(len(pieces))]
		b.WriteString(piece)
		if strings.HasSuffix(piece, "--b") {
			continue // where the part behind an endless boundary line begins is not defined
		}
		switch rng.IntN(6) {
		case 0:
			b.Write(make([]byte, rng.IntN(2*chunk)))
		case 1:
			b.Write(make([]byte, rng.IntN(9)))
		}
	}
	return b.Bytes()
}

// TestHolesDoNotMatter: counting and searching a file with holes has the same results as
// for the same octets on disk.
func TestHolesDoNotMatter(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		text := holedText(rng)
		size := int64(len(text))
		plain, sparse := bytes.NewReader(text), newHoled(text)
		same := func(what string, f func(src io.ReaderAt) (any, error)) {
			t.Helper()
			want, err := f(plain)
			got, err2 := f(sparse)
			if !reflect.DeepEqual(want, got) || err != nil || err2 != nil {
				t.Fatalf("seed %d: %s is %v, %v, and with holes %v, %v", seed, what, want, err, got, err2)
			}
		}
		same("size", func(src io.ReaderAt) (any, error) {
			n, nul, err := RawSize(src, size)
			return []any{n, nul}, err
		})
		same("structure", func(src io.ReaderAt) (any, error) { return Parse(src, size) })
		same("end of the header", func(src io.ReaderAt) (any, error) {
			_, body, err := ReadHeader(nil, src, size, 1<<20)
			return body, err
		})
		virtual, _ := VirtualSize(plain, size)
		skip, limit := rng.Int64N(virtual+2), rng.Int64N(virtual+2)
		same("a copy", func(src io.ReaderAt) (any, error) {
			var b bytes.Buffer
			_, _, err := CopyVirtual(&b, src, Pos{}, Pos{size, virtual}, skip, limit)
			return b.Bytes(), err
		})
		root, err := Parse(plain, size)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts(root) {
			if p.encoding() != "" && p.encoding() != "base64" {
				continue
			}
			same("the decoded size of a part", func(src io.ReaderAt) (any, error) {
				b, err := MeasureBinary(src, p)
				return []any{b.Size, b.NUL}, err
			})
			same("the text of a part without NULs", func(src io.ReaderAt) (any, error) {
				b, err := io.ReadAll(decodeText(src, p))
				return string(bytes.ReplaceAll(b, []byte{0}, nil)), err
			})
		}
	}
}

// huge is a text of some lines and a hole of any length.
type huge struct {
	begin, end string
	size, read int64
}

func (h *huge) tail() int64 { return h.size - int64(len(h.end)) }

func (h *huge) Hole(off int64) int64 {
	if off >= int64(len(h.begin)) && off < h.tail() {
		return h.tail()
	}
	return off
}

func (h *huge) ReadAt(p []byte, off int64) (int, error) {
	p = p[:min(int64(len(p)), h.size-off)]
	h.read += int64(len(p))
	clear(p)
	if off < int64(len(h.begin)) {
		copy(p, h.begin[off:])
	}
	if from := h.tail() - off; from < int64(len(p)) {
		copy(p[max(0, from):], h.end[max(0, -from):])
	}
	if off+int64(len(p)) == h.size {
		return len(p), io.EOF
	}
	return len(p), nil
}

// TestHugeHole: queries of a file with a hole of a terabyte read next to nothing.
func TestHugeHole(t *testing.T) {
	for _, begin := range []string{"Subject: x\n\n", "Subject: x\n", "", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n", "Content-Transfer-Encoding: base64\n\n"} {
		h := &huge{begin: begin, end: "\n--b\n\nneedle\n--b--\n", size: 1 << 40}
		virtual, err := VirtualSize(h, h.size)
		if err != nil || virtual < h.size {
			t.Fatal(virtual, err)
		}
		root, err := Parse(h, h.size)
		if err != nil || root.End != (Pos{h.size, virtual}) {
			t.Fatal(root.End, err)
		}
		if _, _, err := ReadHeader(nil, h, h.size, 1<<20); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, p := range parts(root) {
			if _, err := MeasureBinary(h, p); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(decodeText(h, p))
			found = found || bytes.Contains(text, []byte("needle"))
			if err != nil || len(text) > 1<<20 {
				t.Fatal(len(text), err)
			}
		}
		if !found && root.encoding() == "" && len(root.Children) > 0 {
			t.Errorf("%q: what stands behind the hole was not found", begin)
		}
		var b bytes.Buffer
		if _, _, err := CopyVirtual(&b, h, Pos{}, Pos{h.size, virtual}, virtual-10, 20); err != nil || b.String() != "e\r\n--b--\r\n" {
			t.Errorf("%q: the last octets are %q, %v", begin, &b, err)
		}
		if h.read > 2<<20 {
			t.Errorf("%q: %d bytes were read", begin, h.read)
		}
	}
}
