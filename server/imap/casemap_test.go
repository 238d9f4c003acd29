package imap

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
		{"ＡＢＣ", "ABC"}, // wide letters decompose to those of ASCII
		{"\xff\xfe", "\xff\xfe"},
		{"", ""},
	}
	for _, tt := range tests {
		a, b := appendCasemap(nil, []byte(tt.a)), appendCasemap(nil, []byte(tt.b))
		if !bytes.Equal(a, b) {
			t.Errorf("%q and %q are %q and %q", tt.a, tt.b, a, b)
		}
	}
	if bytes.Equal(appendCasemap(nil, []byte("a")), appendCasemap(nil, []byte("ä"))) {
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

// TestScan looks for needles that stand anywhere in a long text, also across
// the places where it is read.
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
			in = append(in, appendCasemap(nil, []byte(n)))
		}
		sc := newTextScanner(in)
		var r io.Reader = strings.NewReader(b.String())
		if round%2 == 0 {
			r = iotest.HalfReader(r)
		}
		if err := sc.scan(r); err != nil {
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
	sc := newTextScanner([][]byte{[]byte("X")})
	if err := sc.scan(iotest.ErrReader(io.ErrUnexpectedEOF)); err != io.ErrUnexpectedEOF {
		t.Errorf("error of the reader: got %v", err)
	}
	if err := sc.scan(strings.NewReader("x")); err != nil || !sc.found[0] || sc.left != 0 {
		t.Errorf("not found: %v", err)
	}
	// Nothing is left to look for, so nothing is read.
	if err := sc.scan(iotest.ErrReader(io.ErrUnexpectedEOF)); err != nil {
		t.Error(err)
	}
	sc.reset()
	if sc.found[0] || sc.left != 1 {
		t.Error("reset forgets nothing")
	}
}

func BenchmarkScan(b *testing.B) {
	for name, text := range map[string]string{
		"ascii":    strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 20_000),
		"cyrillic": strings.Repeat("Съешь ещё этих мягких французских булок.\r\n", 12_000),
	} {
		b.Run(name, func(b *testing.B) {
			sc := newTextScanner([][]byte{[]byte("NOT TO BE FOUND")})
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := sc.scan(strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
