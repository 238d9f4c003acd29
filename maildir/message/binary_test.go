package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"testing"
)

// countingReader counts the octets that are read.
type countingReader struct {
	io.ReaderAt
	read int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

// wrapped adds a line end after each piece of text of the given length.
func wrapped(text []byte, length int, end string) []byte {
	var out bytes.Buffer
	for len(text) > length {
		out.Write(text[:length])
		out.WriteString(end)
		text = text[length:]
	}
	out.Write(text)
	return out.Bytes()
}

// TestBinaryPieces: a piece of a long part is equal to that piece of the whole, and
// decoding starts near it.
func TestBinaryPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	content := make([]byte, 12<<20)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	digits := make([]byte, base64.StdEncoding.EncodedLen(len(content)))
	base64.StdEncoding.Encode(digits, content)
	var printable bytes.Buffer
	w := quotedprintable.NewWriter(&printable)
	for line := range bytes.Lines(wrapped(bytes.Repeat([]byte("Gr\u00fc\u00dfe = "), 100_000), 300, "\n")) {
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		encoding string
		body     []byte
	}{
		"base64":                       {"base64", wrapped(digits, 76, "\n")},
		"base64 with CRLF":             {"base64", wrapped(digits, 76, "\r\n")},
		"base64 in one line":           {"base64", digits},
		"base64, no chunk ends a quad": {"base64", append([]byte("!"), digits...)},
		"quoted-printable":             {"quoted-printable", printable.Bytes()},
	} {
		t.Run(name, func(t *testing.T) {
			mail, p := partOf(t, "Content-Transfer-Encoding: "+c.encoding, string(c.body))
			src := &countingReader{ReaderAt: bytes.NewReader(mail)}
			whole, err := readDecoded(src, p)
			if err != nil {
				t.Fatal(err)
			}
			b, err := MeasureBinary(src, p)
			if err != nil || b.Size != int64(len(whole)) {
				t.Fatalf("%d octets, %v, want %d", b.Size, err, len(whole))
			}
			if len(b.places) == 0 || len(b.places) > maxPlaces {
				t.Fatalf("%d places", len(b.places))
			}
			edges := []int64{0, b.Size - 1, b.Size, b.Size + 1}
			for _, at := range b.places {
				edges = append(edges, at.octets-1, at.octets, at.octets+1)
			}
			for range 100 {
				edges = append(edges, rng.Int64N(b.Size))
			}
			for _, skip := range edges {
				limit := 1 + rng.Int64N(5000)
				src.read = 0
				var out bytes.Buffer
				if _, err := b.Copy(&out, src, p, skip, limit); err != nil {
					t.Fatal(err)
				}
				from := min(skip, b.Size)
				if want := whole[from:min(from+limit, b.Size)]; !bytes.Equal(out.Bytes(), want) {
					t.Fatalf("<%d.%d>: %d octets, want %d, or others", skip, limit, out.Len(), len(want))
				}
				if src.read > 2<<20 {
					t.Errorf("<%d.%d>: %d octets of the file were read", skip, limit, src.read)
				}
			}
		})
	}
}

// BenchmarkBinaryPieces fetches an attachment in pieces.
func BenchmarkBinaryPieces(b *testing.B) {
	digits := make([]byte, base64.StdEncoding.EncodedLen(32<<20))
	base64.StdEncoding.Encode(digits, make([]byte, 32<<20))
	mail, p := partOf(b, "Content-Transfer-Encoding: base64", string(wrapped(digits, 76, "\n")))
	src := bytes.NewReader(mail)
	for _, piece := range []int64{128 << 10, 1 << 20} {
		b.Run(fmt.Sprint(piece), func(b *testing.B) {
			b.SetBytes(32 << 20)
			for b.Loop() {
				known, err := MeasureBinary(src, p)
				if err != nil {
					b.Fatal(err)
				}
				for off := int64(0); off < known.Size; off += piece {
					if _, err := known.Copy(io.Discard, src, p, off, piece); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
