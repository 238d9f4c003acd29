package syntax

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestWriteStrings(t *testing.T) {
	long := strings.Repeat("x", longestQuoted+1)
	tests := []struct {
		in   string
		utf8 bool
		want string
	}{
		{"", false, `""`},
		{`a "b\c"`, false, `"a \"b\\c\""`},
		{"ä", false, "{2}\r\nä"},
		{"ä", true, `"ä"`},
		{"\xe4", true, "{1}\r\n\xe4"},
		{"a\r\nb", true, "{4}\r\na\r\nb"},
		{"a\tb", false, "\"a\tb\""},
		{"a\x00b", false, "{3}\r\na\x80b"},
		{long, false, "{1025}\r\n" + long},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		w := Writer{Dest: &out, UTF8: tt.utf8}
		w.Str(tt.in)
		if err := w.Flush(); err != nil || out.String() != tt.want {
			t.Errorf("%.20q: %q, %v; want %q", tt.in, out.String(), err, tt.want)
		}
	}
}

func TestWriteMailboxes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		utf8 bool
		want string
	}{
		{"Entwürfe", false, `"Entw&APw-rfe"`},
		{"Entwürfe", true, `"Entwürfe"`},
		{"a&b", false, `"a&-b"`},
		{"a&b", true, `"a&b"`},
		{`a"b`, false, `"a\"b"`},
	} {
		var out bytes.Buffer
		w := Writer{Dest: &out, UTF8: tt.utf8}
		w.Mailbox(tt.in)
		if err := w.Flush(); err != nil || out.String() != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.in, out.String(), err, tt.want)
		}
	}
}

// writes counts the calls of Write.
type writes struct {
	bytes.Buffer
	calls int
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls++
	return w.Buffer.Write(p)
}

func TestBuffered(t *testing.T) {
	var out writes
	w := Writer{Dest: &out}
	for range 1000 {
		w.Raw("* 1 EXISTS\r\n")
	}
	if out.calls != 0 {
		t.Errorf("%d writes before the buffer was full", out.calls)
	}
	big := bytes.Repeat([]byte("0123456789"), 10_000)
	w.Literal(int64(len(big)))
	if n, err := w.Write(big); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	w.EndLiteral()
	w.Raw(strings.Repeat("y", 40_000))
	if err := w.Flush(); err != nil || w.buf != nil {
		t.Fatal(err, len(w.buf))
	}
	want := strings.Repeat("* 1 EXISTS\r\n", 1000) + "{100000}\r\n" + string(big) + strings.Repeat("y", 40_000)
	if out.String() != want {
		t.Error("output differs")
	}
	if out.calls > 6 {
		t.Errorf("%d writes", out.calls)
	}
}

func TestLiteralCounts(t *testing.T) {
	t.Run("too much", func(t *testing.T) {
		var out bytes.Buffer
		w := Writer{Dest: &out}
		w.Literal(3)
		n, err := io.WriteString(&w, "abcdef")
		w.EndLiteral()
		w.Raw(")\r\n")
		if n != 3 || err != io.ErrShortWrite || w.Flush() != nil || out.String() != "{3}\r\nabc)\r\n" {
			t.Errorf("%d, %v, %q", n, err, out.String())
		}
	})
	t.Run("too little", func(t *testing.T) {
		var out bytes.Buffer
		w := Writer{Dest: &out}
		w.Literal8(3)
		_, _ = io.WriteString(&w, "ab")
		w.EndLiteral()
		w.Raw(")\r\n")
		if err := w.Flush(); !errors.Is(err, ErrShortLiteral) || out.String() != "~{3}\r\nab" {
			t.Errorf("%v, %q", err, out.String())
		}
	})
}

func TestWriteErrorSticks(t *testing.T) {
	w := Writer{Dest: failingWriter{}}
	for range 10_000 {
		w.Raw("* 1 EXISTS\r\n")
		w.Number(1)
		w.Byte('x')
	}
	if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if len(w.buf) > writeBufferSize {
		t.Error("the buffer grows")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
