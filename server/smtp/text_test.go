package smtp

import (
	"bytes"
	"strings"
	"testing"
)

// decodeAll decodes src, in pieces of the sizes that cut returns, into a buffer of size room.
// rest is what follows the end.
func decodeAll(d *decoder, src []byte, room int, cut func() int) (text, rest []byte) {
	buf := make([]byte, max(room, 2))
	for len(src) > 0 && d.state != textComplete {
		piece := src[:min(max(cut(), 1), len(src))]
		put, taken := d.decode(buf, piece)
		text = append(text, buf[:put]...)
		src = src[taken:]
	}
	if !d.dots {
		var last [1]byte
		text = append(text, last[:d.finish(last[:])]...)
	}
	return text, src
}

func whole() int { return 1 << 30 }

// stuff encodes a text as a client does (RFC 5321 section 4.5.2): lines end in CRLF, and one
// that begins with a dot gets another.
func stuff(text []byte) []byte {
	s := append([]byte("\r\n"), text...)
	s = bytes.ReplaceAll(s, []byte("\r\n."), []byte("\r\n.."))
	if !bytes.HasSuffix(s, []byte("\r\n")) {
		s = append(s, "\r\n"...)
	}
	return append(s[2:], ".\r\n"...)
}

// TestDecoder checks which bytes end a message, and what is text otherwise. All sequences that
// some servers accept as the end and others do not (VU#302671) must be text.
func TestDecoder(t *testing.T) {
	for _, c := range []struct {
		name, in, text, rest string
	}{
		{"plain", "a\r\nb\r\n.\r\nX", "a\nb\n", "X"},
		{"empty", ".\r\nX", "", "X"},
		{"dots", "..\r\n..a\r\n...\r\n.\r\n", ".\n.a\n..\n", ""},
		{"unstuffed dot", ".a\r\n.\r\n", "a\n", ""},
		{"bare LF", "a\nb\r\n.\r\n", "a\nb\n", ""},
		{"bare CR", "a\rb\r\n.\r\n", "a\rb\n", ""},
		{"CR CR LF", "a\r\r\n.\r\nX", "a\r\n", "X"},
		{"CR after a dot", ".\rx\r\n.\r\n", "\rx\n", ""},
		{"CR CR after a dot", ".\r\r\n.\r\n", "\r\n", ""},

		{"LF . LF", "a\n.\nX\r\n.\r\n", "a\n.\nX\n", ""},
		{"LF . CRLF", "a\n.\r\nX\r\n.\r\n", "a\n.\nX\n", ""},
		{"CRLF . LF", "a\r\n.\nX\r\n.\r\n", "a\n\nX\n", ""},
		{"CRLF . CR", "a\r\n.\rX\r\n.\r\n", "a\n\rX\n", ""},
		{"CR . CR", "a\r.\rX\r\n.\r\n", "a\r.\rX\n", ""},
		{"CR . CRLF", "a\r.\r\nX\r\n.\r\n", "a\r.\nX\n", ""},
		{"CR . LF", "a\r.\nX\r\n.\r\n", "a\r.\nX\n", ""},
		{"LF . CR", "a\n.\rX\r\n.\r\n", "a\n.\rX\n", ""},
		{"CR LF LF . CRLF", "a\r\n\n.\r\nX\r\n.\r\n", "a\n\n.\nX\n", ""},
		{"CRLF . CR CR LF", "a\r\n.\r\r\nX\r\n.\r\n", "a\n\r\nX\n", ""},
		{"NUL CRLF . CRLF", "a\r\n\x00.\r\nX\r\n.\r\n", "a\n\x00.\nX\n", ""},
		{"CRLF . NUL CRLF", "a\r\n.\x00\r\nX\r\n.\r\n", "a\n\x00\nX\n", ""},
		{"CRLF . space CRLF", "a\r\n. \r\nX\r\n.\r\n", "a\n \nX\n", ""},
		{"CRLF .. CRLF", "a\r\n..\r\nX\r\n.\r\n", "a\n.\nX\n", ""},
		{"LF CR . CRLF", "a\n\r.\r\nX\r\n.\r\n", "a\n\r.\nX\n", ""},
		{"U+2028", "a\u2028.\u2028X\r\n.\r\n", "a\u2028.\u2028X\n", ""},
		{"NEL", "a\x85.\x85X\r\n.\r\n", "a\x85.\x85X\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				d := &decoder{dots: true}
				text, rest := decodeAll(d, []byte(c.in), 2+size, func() int { return size })
				if string(text) != c.text || string(rest) != c.rest {
					t.Fatalf("in pieces of %d: got %q and %q, want %q and %q", size, text, rest, c.text, c.rest)
				}
				if d.state != textComplete {
					t.Fatal("no end")
				}
				if want := int64(len(c.text) + strings.Count(c.text, "\n")); d.octets != want {
					t.Fatalf("counted %d octets of %d", d.octets, want)
				}
			}
		})
	}
}

// TestNothingElseEnds tries all short sequences of the bytes in an end, in one piece and byte
// by byte: a message ends at the first CR LF . CR LF, of which the first CR LF may be that of
// DATA, and nowhere else.
func TestNothingElseEnds(t *testing.T) {
	const octets, longest = "\r\n.x", 8
	total := 1
	for range longest {
		total *= len(octets)
	}
	in := make([]byte, longest)
	for n := range total {
		for i := range in {
			in[i] = octets[n%len(octets)]
			n /= len(octets)
		}
		want := -1 // number of bytes up to the end
		if i := strings.Index("\r\n"+string(in), "\r\n.\r\n"); i >= 0 {
			want = i + len(".\r\n")
		}
		for _, cut := range []func() int{whole, func() int { return 1 }} {
			d := &decoder{dots: true}
			_, rest := decodeAll(d, in, 64, cut)
			got := -1
			if d.state == textComplete {
				got = len(in) - len(rest)
			}
			if got != want {
				t.Fatalf("%q ends after %d octets, want %d", in, got, want)
			}
		}
	}
}

// TestDecoderNoEnd: a message does not end without CRLF . CRLF.
func TestDecoderNoEnd(t *testing.T) {
	for _, in := range []string{"", "a", "a\r\n", ".", ".\r", "a\r\n.", "a\r\n.\r", "a\n.\n", "a\r.\r", "\n.\r\n", "\r.\r\n", "x.\r\n"} {
		d := &decoder{dots: true}
		decodeAll(d, []byte(in), 100, whole)
		if d.state == textComplete {
			t.Errorf("%q ended", in)
		}
	}
}

// TestDecoderChunks: in BDAT chunks, a dot has no special meaning.
func TestDecoderChunks(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "",
		".\r\n":             ".\n",
		"a\r\n.\r\n..b\r\n": "a\n.\n..b\n",
		"no end":            "no end",
		"CR\r":              "CR\r",
		"a\r\r\n\n\r":       "a\r\n\n\r",
	} {
		for size := 1; size <= len(in)+1; size++ {
			if got, _ := decodeAll(&decoder{}, []byte(in), 2, func() int { return size }); string(got) != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, size, got, want)
			}
		}
	}
}

func TestDecoderNotesBareOnes(t *testing.T) {
	for in, want := range map[string][2]bool{
		"a\r\n.\r\n":        {false, false},
		"a\n\r\n.\r\n":      {true, false},
		"a\rb\r\n.\r\n":     {false, true},
		"a\r\r\n.\r\n":      {false, true},
		".\rb\r\n.\r\n":     {false, true},
		"a\r\n.\nb\r\n":     {true, false},
		"\r\n\r\n\r\n.\r\n": {false, false},
	} {
		for size := 1; size <= len(in); size++ {
			d := &decoder{dots: true}
			decodeAll(d, []byte(in), 2, func() int { return size })
			if got := [2]bool{d.bareLF, d.bareCR}; got != want {
				t.Errorf("%q in pieces of %d: %v, want %v", in, size, got, want)
			}
		}
	}
}

// FuzzDecoder: the decoded text equals what the client encoded, with LF instead of CRLF,
// whatever pieces it arrives in; what follows the end is not consumed.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{"", "a\r\n.b\r\n", "\r\n.\r\n", "a\n.\nb", "\r\r\n.\r\r\n..", ".\rx", "\n\r\n\r."} {
		f.Add([]byte(s), uint8(3), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, size, room uint8) {
		sent := stuff(text)
		want := text
		if !bytes.HasSuffix(want, []byte("\r\n")) {
			want = append(bytes.Clone(want), "\r\n"...)
		}
		want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))
		if len(text) == 0 {
			sent, want = []byte("\r\n.\r\n"), []byte("\n")
		}
		pieces := func() int { return int(size) }
		d := &decoder{dots: true}
		got, rest := decodeAll(d, append(bytes.Clone(sent), "NEXT"...), int(room), pieces)
		if !bytes.Equal(got, want) || string(rest) != "NEXT" {
			t.Fatalf("sent %q, got %q and %q, want %q", sent, got, rest, want)
		}
		once := &decoder{dots: true}
		decodeAll(once, sent, len(sent)+2, whole)
		if *once != *d {
			t.Fatalf("in one piece %+v, in pieces of %d %+v", *once, size, *d)
		}
		chunks := bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		if got, _ := decodeAll(&decoder{}, text, int(room), pieces); !bytes.Equal(got, chunks) {
			t.Fatalf("chunks %q: got %q", text, got)
		}
	})
}

// FuzzDecoderAny: input that no client would send is decoded in the same way in one piece and
// in many, and the end is found where a search finds it.
func FuzzDecoderAny(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\nb", ".\r\n", "\n.\r\n\r\n.\n.\r\n", "\r\n.\r\r\n.\r\n"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		d, once := &decoder{dots: true}, &decoder{dots: true}
		got, rest := decodeAll(d, in, 2, func() int { return int(size) })
		text, left := decodeAll(once, in, len(in)+2, whole)
		if !bytes.Equal(got, text) || !bytes.Equal(rest, left) || *d != *once {
			t.Fatalf("%q: %q and %q in one piece, %q and %q in many", in, text, left, got, rest)
		}
		end := bytes.Index(append([]byte("\r\n"), in...), []byte("\r\n.\r\n"))
		if (end >= 0) != (d.state == textComplete) {
			t.Fatalf("%q: end at %d, state %d", in, end, d.state)
		}
		if end >= 0 && len(in)-len(rest) != end+3 {
			t.Fatalf("%q: ended before %q", in, rest)
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	in := stuff([]byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 400)))
	out := make([]byte, largeBuffer)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		d := &decoder{dots: true}
		d.decode(out, in)
	}
}
