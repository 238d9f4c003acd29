package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// samples returns the mails of testdata/mail by name.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../testdata/mail/*.eml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d sample mails: %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(file)] = data
	}
	return out
}

// readDecoded reads the body of a part without its transfer encoding, or unchanged if that
// is unknown.
func readDecoded(src io.ReaderAt, p *Part) ([]byte, error) {
	r, err := decoded(src, p, place{at: p.Body})
	if err != nil {
		r = newVirtualReader(src, p.Body, p.End)
	}
	return io.ReadAll(r)
}

// inCRLF returns the CRLF form of data, computed octet by octet.
func inCRLF(data []byte) []byte {
	var out []byte
	for i, c := range data {
		if c == '\n' && (i == 0 || data[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// withoutNUL returns data in the form that IMAP allows in a literal.
func withoutNUL(data []byte) []byte { return bytes.ReplaceAll(data, []byte{0}, []byte{0x80}) }

// lineEndText returns random text consisting of line ends, NULs and a letter, with more
// text between them if long is set, so that it has several chunks.
func lineEndText(rng *rand.Rand, n int, long bool) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = "\r\n\r\nx\x00"[rng.IntN(6)]
		if long && rng.IntN(50) > 0 {
			out[i] = 'y'
		}
	}
	return out
}

// parts returns all parts of a message, the message itself first.
func parts(root *Part) []*Part {
	out := []*Part{root}
	for _, child := range root.Children {
		out = append(out, parts(child)...)
	}
	return out
}
