package syntax

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// BenchmarkLexer parses a FETCH with many sets.
func BenchmarkLexer(b *testing.B) {
	in := []byte("a12 UID FETCH 1:5,7,9:*" + strings.Repeat(",100:200,4711", 50) + " (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n")
	src := bytes.NewReader(in)
	lx := &Lexer{Source: src, Limits: Limits{Line: 1 << 20, Literal: 100, Depth: 5}}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(in)
		if err := takeFetch(lx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriter writes a FETCH response.
func BenchmarkWriter(b *testing.B) {
	w := &Writer{Dest: io.Discard}
	b.ReportAllocs()
	for b.Loop() {
		w.Raw("* ")
		w.Number(4711)
		w.Raw(" FETCH (UID ")
		w.Number(1234567)
		w.SP()
		w.Raw("ENVELOPE (")
		for range 4 {
			w.Str("A text of some length, as subjects have it")
			w.SP()
			w.NString("", false)
		}
		w.Byte(')')
		w.CRLF()
	}
}
