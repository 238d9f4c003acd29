// Package casemap compares text without regard to case, as i;unicode-casemap (RFC 5051) does:
// Append converts a text to a form in which equal texts are the same octets, and Scanner looks
// for such texts in a stream.
package casemap

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Append appends text in the form that i;unicode-casemap compares (RFC 5051 section 2): each
// character in title case, then decomposed. Octets that are not UTF-8 are copied unchanged.
func Append(dst, text []byte) []byte {
	for {
		dst = slices.Grow(dst, len(text))
		n := upperRun(dst[len(dst):len(dst)+len(text)], text)
		dst = dst[:len(dst)+n]
		text = text[n:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text)
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, text[0])
			} else {
				dst = appendRune(dst, r)
			}
			text = text[n:]
		}
		if len(text) == 0 {
			return dst
		}
	}
}

// upperRun copies the US-ASCII at the beginning of src to dst in upper case, eight octets at a
// time, and returns its length.
func upperRun(dst, src []byte) int {
	const (
		tops = 0x8080808080808080
		ones = 0x0101010101010101
	)
	n := 0
	for ; len(src)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(src[n:])
		if w&tops != 0 {
			break
		}
		// The top bit of each octet that is between 'a' and 'z'.
		lower := (w + (0x80-'a')*ones) &^ (w + (0x7f-'z')*ones) & tops
		binary.LittleEndian.PutUint64(dst[n:], w-lower>>2)
	}
	for ; n < len(src) && src[n] < utf8.RuneSelf; n++ {
		c := src[n]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst[n] = c
	}
	return n
}

func appendRune(dst []byte, r rune) []byte {
	r = unicode.ToTitle(r)
	if r < utf8.RuneSelf {
		return append(dst, byte(r))
	}
	var b [utf8.UTFMax]byte
	n := utf8.EncodeRune(b[:], r)
	if d := norm.NFKD.Properties(b[:n]).Decomposition(); d != nil {
		return append(dst, d...)
	}
	return append(dst, b[:n]...)
}

// Scanner looks for several strings, the needles, at once in a stream of text. Its memory does
// not depend on the length of the text. Only one goroutine at a time may use it.
type Scanner struct {
	// Check, if not nil, is called between pieces of a long text. If it returns an error, Scan
	// stops and returns that.
	Check func() error

	needles [][]byte // in the form of Append
	found   []bool   // by index of the needle
	left    int      // needles not yet found
	longest int      // length of the longest needle

	raw  []byte // input
	text []byte // the input in the form of Append, after the end of the preceding piece
}

const scanChunk = 32 << 10

// NewScanner returns a scanner for needles, which must be in the form of Append.
func NewScanner(needles [][]byte) *Scanner {
	t := &Scanner{needles: needles, found: make([]bool, len(needles))}
	for _, n := range needles {
		t.longest = max(t.longest, len(n))
	}
	t.Reset()
	return t
}

// Found reports whether the needle with index i was found.
func (t *Scanner) Found(i int) bool { return t.found[i] }

// Left returns the number of needles that were not found yet.
func (t *Scanner) Left() int { return t.left }

// Reset forgets which needles were found.
func (t *Scanner) Reset() {
	clear(t.found)
	t.left = len(t.needles)
}

// Scan reads r to its end, or until all needles are found. It does not look for needles that
// were found before, and does not find a needle that spans two calls.
func (t *Scanner) Scan(r io.Reader) error {
	if t.raw == nil {
		t.raw = make([]byte, 0, scanChunk)
	}
	t.raw, t.text = t.raw[:0], t.text[:0]
	for t.left > 0 {
		if t.Check != nil {
			if err := t.Check(); err != nil {
				return err
			}
		}
		n, err := r.Read(t.raw[len(t.raw):cap(t.raw)])
		t.raw = t.raw[:len(t.raw)+n]
		if err == nil && len(t.raw) < cap(t.raw) && n > 0 {
			continue
		}
		whole := len(t.raw)
		if err == nil {
			whole -= partialRune(t.raw)
		}
		t.text = Append(t.text, t.raw[:whole])
		t.raw = t.raw[:copy(t.raw, t.raw[whole:])]
		t.look(len(t.needles))
		if keep := min(len(t.text), max(0, t.longest-1)); keep < len(t.text) {
			t.text = t.text[:copy(t.text, t.text[len(t.text)-keep:])]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Line looks for the first n needles in text, except for those that were found before.
func (t *Scanner) Line(text []byte, n int) {
	t.text = Append(t.text[:0], text)
	t.look(n)
}

func (t *Scanner) look(n int) {
	for i, needle := range t.needles[:n] {
		if !t.found[i] && bytes.Contains(t.text, needle) {
			t.found[i] = true
			t.left--
		}
	}
}

// partialRune returns the number of octets at the end of b that are the beginning
// of an incomplete character.
func partialRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if c < utf8.RuneSelf || utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}
