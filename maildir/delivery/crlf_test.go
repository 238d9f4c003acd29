package delivery

import (
	"bytes"
	"testing"
)

func FuzzCRLFWriter(f *testing.F) {
	for _, s := range []string{"a\r\nb", "\r", "\n", "\r\r\n", "a\rb\n\r\n"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		var out bytes.Buffer
		w := NewCRLFWriter(&out)
		for rest := text; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			if k, err := w.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		must(t, w.Close())
		if want := bytes.ReplaceAll(text, crlf, lf); !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%q became %q, want %q", text, out.Bytes(), want)
		}
	})
}

func FuzzCounter(f *testing.F) {
	f.Add("a\r\nb\n", uint8(2))
	f.Add("\r\n\r", uint8(0))
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		i := min(int(at), len(text))
		var c, tail counter
		c.count([]byte(text[:i]))
		both := c
		both.count([]byte(text[i:]))
		tail.count([]byte(text[i:]))
		c.add(tail, i < len(text) && text[i] == '\n')
		want := virtualSize(text)
		if c != both || c.size != int64(len(text)) || c.size+c.bareLFs != want {
			t.Errorf("%q at %d: %+v and %+v, want %d octets as CRLF", text, i, c, both, want)
		}
	})
}
