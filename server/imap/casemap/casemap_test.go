package casemap

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestCasemap(t *testing.T) {
	tests := []struct{ a, b string }{
		{"hello", "HeLLo"},
		{"straße", "STRAßE"},
		{"Ärger", "ärger"},
		{"A\u0308rger", "ärger"},
		{"ǆ", "ǅ"},
		{"Ǆ", "ǅ"},
		{"Ω", "Ω"},
		{"АБВ", "абв"},
		{"ＡＢＣ", "ABC"}, // full-width letters decompose to ASCII letters
		{"\xff\xfe", "\xff\xfe"},
		{"", ""},
	}
	for _, tt := range tests {
		a, b := Append(nil, []byte(tt.a)), Append(nil, []byte(tt.b))
		if !bytes.Equal(a, b) {
			t.Errorf("%q and %q are %q and %q", tt.a, tt.b, a, b)
		}
	}
	if bytes.Equal(Append(nil, []byte("a")), Append(nil, []byte("ä"))) {
		t.Error("a and ä are the same")
	}
}

func TestPartialRune(t *testing.T) {
	text := "aä€𝄞\xff"
	for n := 0; n <= len(text); n++ {
		got := partialRune([]byte(text[:n]))
		want := 0
		for k := 1; k <= 3 && k <= n; k++ {
			if b := text[n-k : n]; utf8.RuneStart(b[0]) {
				if !utf8.FullRuneInString(b) {
					want = k
				}
				break
			}
		}
		if got != want {
			t.Errorf("after %q: %d octets, want %d", text[:n], got, want)
		}
	}
}

// TestScan searches for needles anywhere in a long text, including at the
// boundaries of its chunks.
func TestScan(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	needles := []string{"needle", "nädel", "𝄞𝄞", "nowhere"}
	filler := []string{"hay ", "Heu ", "сено ", "\r\n", "\xe4 "}
	for round := range 200 {
		var b strings.Builder
		target := scanChunk + rnd.IntN(64) - 32
		for b.Len() < target-8 {
			b.WriteString(filler[rnd.IntN(len(filler))])
		}
		want := needles[round%3]
		b.WriteString(strings.ToUpper(want))
		for range rnd.IntN(100) {
			b.WriteString(filler[rnd.IntN(len(filler))])
		}
		var in [][]byte
		for _, n := range needles {
			in = append(in, Append(nil, []byte(n)))
		}
		sc := NewScanner(in)
		var r io.Reader = strings.NewReader(b.String())
		if round%2 == 0 {
			r = iotest.HalfReader(r)
		}
		if err := sc.Scan(r); err != nil {
			t.Fatal(err)
		}
		for i, n := range needles {
			if sc.found[i] != (n == want) {
				t.Fatalf("round %d: %q found: %v", round, n, sc.found[i])
			}
		}
	}
}

func TestScanEnds(t *testing.T) {
	sc := NewScanner([][]byte{[]byte("X")})
	if err := sc.Scan(iotest.ErrReader(io.ErrUnexpectedEOF)); err != io.ErrUnexpectedEOF {
		t.Errorf("error of the reader: got %v", err)
	}
	if err := sc.Scan(strings.NewReader("x")); err != nil || !sc.found[0] || sc.left != 0 {
		t.Errorf("not found: %v", err)
	}
	// No needle is left, so nothing is read.
	if err := sc.Scan(iotest.ErrReader(io.ErrUnexpectedEOF)); err != nil {
		t.Error(err)
	}
	sc.Reset()
	if sc.found[0] || sc.left != 1 {
		t.Error("reset forgets nothing")
	}
}

// TestUpperRun compares the conversion of eight bytes at a time with that of one at a time.
func TestUpperRun(t *testing.T) {
	var all []byte
	for c := range 128 {
		all = append(all, byte(c))
	}
	for shift := range 9 {
		src := append(all[shift:len(all):len(all)], 0xc3, 'x')
		dst := make([]byte, len(src))
		n := upperRun(dst, src)
		if n != len(src)-2 || !bytes.Equal(dst[:n], bytes.ToUpper(src[:n])) {
			t.Errorf("from %d on: %d octets, %q", shift, n, dst[:n])
		}
	}
}

// FuzzScanner checks that the needles found in a stream, in any pieces, are those
// in the whole text.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("some text with a Grüße"), []byte("GRÜSS"), []byte("ith A"), uint8(3))
	f.Add([]byte("\xff\xc3\xc3\xbc\xe4\xb8"), []byte("\xc3"), []byte("ü"), uint8(1))
	f.Fuzz(func(t *testing.T, text, a, b []byte, pieces uint8) {
		needles := [][]byte{Append(nil, a), Append(nil, b)}
		whole := Append(nil, text)
		s := NewScanner(needles)
		s.raw = make([]byte, 0, 4+int(pieces)) // chunks that end everywhere
		var r io.Reader = bytes.NewReader(text)
		if pieces%2 == 0 {
			r = iotest.OneByteReader(r)
		}
		if err := s.Scan(r); err != nil {
			t.Fatal(err)
		}
		for i, n := range needles {
			if got, want := s.found[i], bytes.Contains(whole, n); got != want {
				t.Fatalf("%q in %q: %v, want %v", n, whole, got, want)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for name, text := range map[string]string{
		"ascii":    strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 20_000),
		"cyrillic": strings.Repeat("Съешь ещё этих мягких французских булок.\r\n", 12_000),
	} {
		b.Run(name, func(b *testing.B) {
			sc := NewScanner([][]byte{[]byte("NOT TO BE FOUND")})
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := sc.Scan(strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
