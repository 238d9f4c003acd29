package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
)

var testLimits = Limits{Line: 1000, Literal: 100, Skip: 400, Depth: 5}

// lexerOn returns a lexer whose input arrives in pieces of any size, and a count of the
// literals that it requested.
func lexerOn(input string, how func(io.Reader) io.Reader) (*Lexer, *int) {
	asked := new(int)
	lx := &Lexer{Source: how(strings.NewReader(input)), Limits: testLimits, Continue: func() { *asked++ }}
	lx.Next()
	return lx, asked
}

// pieces are ways in which input can arrive.
var pieces = map[string]func(io.Reader) io.Reader{
	"whole":    func(r io.Reader) io.Reader { return r },
	"octets":   iotest.OneByteReader,
	"with EOF": iotest.DataErrReader,
}

// TestLongestCommand: a command may have as many octets as Limits.Line, wherever it begins in the
// buffer, and not one more.
func TestLongestCommand(t *testing.T) {
	const most = 20_000
	for _, before := range []int{0, 2, 5000, 8190} {
		for n, fits := range map[int]bool{most: true, most + 1: false} {
			input := strings.Repeat("x", n-2) + "\r\nnext\r\n"
			lx := &Lexer{Limits: Limits{Line: most}}
			if before > 0 {
				input = strings.Repeat("y", before-2) + "\r\n" + input
			}
			lx.Source = strings.NewReader(input)
			if before > 0 {
				lx.Next()
				lx.OptionalAtom()
				if err := lx.End(); err != nil {
					t.Fatal(err)
				}
			}
			lx.Next()
			lx.OptionalAtom()
			if err := lx.End(); (err == nil) != fits {
				t.Errorf("%d octets after %d: %v", n, before, err)
			}
		}
	}
}

func TestStrings(t *testing.T) {
	tests := []struct {
		in   string
		take func(*Lexer) string
		want string // "" means an error
	}{
		{"abc\r\n", func(lx *Lexer) string { return string(lx.Atom()) }, "abc"},
		{"a[b<c\r\n", func(lx *Lexer) string { return string(lx.Atom()) }, "a[b<c"},
		{"abc]\r\n", func(lx *Lexer) string { return string(lx.AString()) }, "abc]"},
		{"abc]\r\n", func(lx *Lexer) string { return string(lx.Atom()) }, ""},
		{"\xe4\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"a*b%c\\d\r\n", (*Lexer).Mailbox, `a*b%c\d`},
		{"a\"b\r\n", (*Lexer).Mailbox, ""},
		{"body.Peek[]\r\n", func(lx *Lexer) string { w := string(lx.Word()); lx.Expect('['); lx.Expect(']'); return w }, "BODY.PEEK"},
		{"+flags.Silent\r\n", func(lx *Lexer) string { return string(lx.Word()) }, "+FLAGS.SILENT"},
		{`"a b"` + "\r\n", func(lx *Lexer) string { return string(lx.AString()) }, "a b"},
		{`"a\"\\b"` + "\n", func(lx *Lexer) string { return string(lx.Str()) }, `a"\b`},
		{`"a\b"` + "\r\n", func(lx *Lexer) string { return string(lx.Str()) }, ""},
		{`"a` + "\r\n", func(lx *Lexer) string { return string(lx.Str()) }, ""},
		{"\"a\x00\"\r\n", func(lx *Lexer) string { return string(lx.Str()) }, ""},
		{"\"\xc3\xa4\"\r\n", func(lx *Lexer) string { return string(lx.Str()) }, "\xc3\xa4"},
		{"{3}\r\nabc\r\n", func(lx *Lexer) string { return string(lx.Str()) }, "abc"},
		{"{3+}\r\na\r\n\r\n", func(lx *Lexer) string { return string(lx.AString()) }, "a\r\n"},
		{"{3}\nabc\n", func(lx *Lexer) string { return string(lx.AString()) }, "abc"},
		{"{3+}\r\na\x00c\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"{3-}\r\nabc\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"{}\r\n\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"{101+}\r\n" + strings.Repeat("x", 101) + "\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"abc\r\n", func(lx *Lexer) string { return string(lx.Str()) }, ""},
		{"\r\n", func(lx *Lexer) string { return string(lx.AString()) }, ""},
		{"inbox\r\n", (*Lexer).Mailbox, "INBOX"},
		{"Entw&APw-rfe\r\n", (*Lexer).Mailbox, "Entwürfe"},
		{`"[Gmail]/All Mail"` + "\r\n", (*Lexer).Mailbox, "[Gmail]/All Mail"},
		{"a&b\r\n", (*Lexer).Mailbox, ""},
		{"abc   \r\n", func(lx *Lexer) string { return string(lx.Atom()) }, "abc"},
		{"abc def\r\n", func(lx *Lexer) string { return string(lx.Atom()) }, ""},
		{"abc\rdef\n", func(lx *Lexer) string { return string(lx.Atom()) }, ""},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			lx, _ := lexerOn(tt.in, p)
			got := tt.take(lx)
			err := lx.End()
			if tt.want == "" {
				if err == nil {
					t.Errorf("%q in %s: got %q, want an error", tt.in, how, got)
				}
				continue
			}
			if err != nil || got != tt.want {
				t.Errorf("%q in %s: got %q, %v; want %q", tt.in, how, got, err, tt.want)
			}
		}
	}
}

func TestNil(t *testing.T) {
	lx, _ := lexerOn("nil \"NIL\" abc\r\n", pieces["octets"])
	if b, isNil := lx.NString(); b != nil || !isNil {
		t.Errorf("got %q, %v", b, isNil)
	}
	lx.SP()
	if b, isNil := lx.NString(); string(b) != "NIL" || isNil {
		t.Errorf("got %q, %v", b, isNil)
	}
	lx.SP()
	if _, isNil := lx.NString(); isNil || lx.err == nil {
		t.Error("an atom was taken for a string")
	}
}

// TestTokensStay: a returned token stays valid until the next command, however much
// is read after it.
func TestTokensStay(t *testing.T) {
	for how, p := range pieces {
		long := strings.Repeat("x", 90)
		var in strings.Builder
		for range 10 {
			in.WriteString(long + " ")
		}
		in.WriteString("end\r\nnext\r\n")
		lx, _ := lexerOn(in.String(), p)
		lx.Limits.Line = 2000
		var got [][]byte
		for range 10 {
			got = append(got, lx.Atom())
			lx.SP()
		}
		if string(lx.Atom()) != "end" || lx.End() != nil {
			t.Fatalf("%s: %v", how, lx.err)
		}
		for _, b := range got {
			if string(b) != long {
				t.Errorf("%s: token changed to %q", how, b)
			}
		}
		lx.Next()
		if string(lx.Atom()) != "next" || lx.End() != nil {
			t.Errorf("%s: next command: %v", how, lx.err)
		}
	}
}

func TestBigCommandsKeepTokens(t *testing.T) {
	lx, _ := lexerOn("", pieces["whole"])
	lx.Limits.Line = 100_000
	line := strings.Repeat("abcdefghi ", 9000)
	lx.Source = strings.NewReader(line + "\r\nx\r\n")
	var words [][]byte
	for {
		words = append(words, lx.Atom())
		if !lx.More() {
			break
		}
	}
	if err := lx.End(); err != nil || len(words) != 9000 {
		t.Fatal(len(words), err)
	}
	for _, w := range words {
		if string(w) != "abcdefghi" {
			t.Fatalf("word changed to %q", w)
		}
	}
	lx.Next()
	if string(lx.Atom()) != "x" {
		t.Error(lx.err)
	}
}

func TestLimits(t *testing.T) {
	t.Run("line", func(t *testing.T) {
		lx, _ := lexerOn(strings.Repeat("x ", 20_000)+"\r\nnext\r\n", pieces["whole"])
		for lx.run(classAtom) != nil && lx.Accept(' ') {
		}
		var status *imap.Error
		if !errors.As(lx.err, &status) || status.Code != imap.ResponseCodeTooBig {
			t.Fatal(lx.err)
		}
		if err := lx.Skip(); err != nil {
			t.Fatal(err)
		}
		lx.Next()
		if string(lx.Atom()) != "next" {
			t.Error("the next command is not found")
		}
		if cap(lx.buf) > 4*readBufferSize {
			t.Errorf("buffer grew to %d", cap(lx.buf))
		}
	})
	t.Run("depth", func(t *testing.T) {
		lx, _ := lexerOn(strings.Repeat("(", 100)+"\r\n", pieces["whole"])
		for lx.err == nil {
			lx.Enter()
		}
		if lx.depth != testLimits.Depth+1 {
			t.Errorf("depth %d", lx.depth)
		}
	})
	t.Run("number", func(t *testing.T) {
		for in, want := range map[string]uint64{"4294967295": 1<<32 - 1, "4294967296": 0, "99999999999999999999999": 0, "007": 7} {
			lx, _ := lexerOn(in+"\r\n", pieces["octets"])
			if n := lx.Number(); uint64(n) != want || (lx.err == nil) != (want != 0) {
				t.Errorf("%s: %d, %v", in, n, lx.err)
			}
		}
		lx, _ := lexerOn("9223372036854775808\r\n", pieces["whole"])
		if lx.Number64(); lx.err == nil {
			t.Error("a number of 64 bits was taken")
		}
	})
}

// TestSkip: a failed command is skipped with its literals, and the next one works.
func TestSkip(t *testing.T) {
	tests := []struct {
		name, in string
		take     func(*Lexer)
		asked    int
	}{
		{"nothing taken", "a b c\r\n", func(lx *Lexer) { lx.Fail("x") }, 0},
		{"bare LF", "a b c\n", func(lx *Lexer) { lx.Fail("x") }, 0},
		{"at the end of the line", "abc\r\n", func(lx *Lexer) { lx.Atom(); lx.SP() }, 0},
		{"sync literal behind the error", "a ( {5}\r\n", func(lx *Lexer) { lx.Atom(); lx.Fail("x") }, 0},
		{"non-sync literal behind the error", "a ( {5+}\r\nx\r\ny\r\r\n", func(lx *Lexer) { lx.Atom(); lx.Fail("x") }, 0},
		{"several literals behind the error", "a {1+}\r\n\n {2+}\r\n\r\n x {0+}\r\n\r\n", func(lx *Lexer) { lx.Fail("x") }, 0},
		{"literal8", "a ~{4+}\r\n\x00\r\n\n rest\r\n", func(lx *Lexer) { lx.Fail("x") }, 0},
		{"error at a literal that was announced", "{5+}\r\nabc\r\n rest\r\n", func(lx *Lexer) { lx.LiteralHeader(); lx.Fail("x") }, 0},
		{"error at a sync literal that was announced", "{5}\r\n", func(lx *Lexer) { lx.LiteralHeader(); lx.Fail("x") }, 0},
		{"in the middle of a stream", "{9}\r\nabc\r\nde\r\n rest {2+}\r\n\r\n\r\n",
			func(lx *Lexer) {
				lx.LiteralHeader()
				_, _ = io.ReadFull(lx.StreamLiteral(), make([]byte, 4))
				lx.Fail("x")
			}, 1},
		{"too big non-sync literal", "{101+}\r\n" + strings.Repeat("\n", 101) + " x\r\n", func(lx *Lexer) { lx.AString() }, 0},
		{"too big sync literal", "{101}\r\n", func(lx *Lexer) { lx.AString() }, 0},
		{"everything taken", "abc\r\n", func(lx *Lexer) { lx.Atom(); _ = lx.End() }, 0},
		{"unfinished quoted string", "\"abc {3+}\r\n\r\n\n\r\n", func(lx *Lexer) { lx.Str() }, 0},
		{"looks like a literal", "abc }\r\n", func(lx *Lexer) { lx.Fail("x") }, 0},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			t.Run(tt.name+" in "+how, func(t *testing.T) {
				lx, asked := lexerOn(tt.in+"next one\r\n", p)
				tt.take(lx)
				if err := lx.Skip(); err != nil {
					t.Fatal(err)
				}
				lx.Next()
				if got := lx.Atom(); string(got) != "next" {
					t.Errorf("went on at %q", got)
				}
				if *asked != tt.asked {
					t.Errorf("asked for %d literals", *asked)
				}
			})
		}
	}
}

func TestAbsurdLiteralEndsConnection(t *testing.T) {
	lx, _ := lexerOn("{99999999999999999999+}\r\n", pieces["whole"])
	lx.Fail("x")
	var status *imap.Error
	if err := lx.Skip(); !errors.As(err, &status) || status.Type != imap.StatusResponseTypeBye {
		t.Error(err)
	}
}

func TestStreamLiteral(t *testing.T) {
	body := strings.Repeat("0123456789", 5000)
	for how, p := range pieces {
		for _, write := range []bool{false, true} {
			lx, asked := lexerOn("mailbox {50000}\r\n"+body+" rest\r\nnext\r\n", p)
			name := string(lx.Atom())
			lx.SP()
			lit, ok := lx.LiteralHeader()
			if !ok || lit.Size != 50000 || !lit.sync || lit.Binary {
				t.Fatalf("%s: %+v", how, lit)
			}
			var got bytes.Buffer
			var err error
			if r := lx.StreamLiteral(); write {
				_, err = r.WriteTo(&got)
			} else {
				_, err = io.Copy(&got, struct{ io.Reader }{r})
			}
			if err != nil || got.String() != body || *asked != 1 {
				t.Fatalf("%s: %d octets, %v, asked %d times", how, got.Len(), err, *asked)
			}
			lx.SP()
			if string(lx.Atom()) != "rest" || lx.End() != nil || name != "mailbox" {
				t.Fatalf("%s: %v", how, lx.err)
			}
			if cap(lx.buf) > 2*readBufferSize {
				t.Errorf("%s: buffer grew to %d", how, cap(lx.buf))
			}
			lx.Next()
			if string(lx.Atom()) != "next" {
				t.Errorf("%s: next command: %v", how, lx.err)
			}
		}
	}
}

func TestStreamEndsEarly(t *testing.T) {
	lx, _ := lexerOn("{10+}\r\nabc", pieces["octets"])
	lx.LiteralHeader()
	got, err := io.ReadAll(lx.StreamLiteral())
	if string(got) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLists(t *testing.T) {
	tests := []struct {
		in    string
		empty bool // whether the list may be empty
		want  string
	}{
		{"(a b c)", false, "a b c"},
		{"( a  b )", false, "a b"},
		{"( a  b )", true, "a b"},
		{"()", true, ""},
		{"(  )", true, ""},
		{"()", false, "error"},
		{"(a", true, "error"},
		{"(a b", false, "error"},
		{"a)", true, "error"},
		{"(a(b))", true, "error"},
	}
	for _, tt := range tests {
		lx, _ := lexerOn(tt.in+"\r\n", pieces["octets"])
		var got []string
		item := func() { got = append(got, string(lx.Atom())) }
		if tt.empty {
			lx.OptionalList(item)
		} else {
			lx.List(item)
		}
		err := lx.End()
		if tt.want == "error" {
			if err == nil {
				t.Errorf("%s: no error", tt.in)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v", tt.in, got, err)
		}
	}
}

// TestSpaceBetweenLists: two lists need no space between them, but everything else does.
func TestSpaceBetweenLists(t *testing.T) {
	for in, want := range map[string]string{
		"(a) (b)": "", "(a)(b)": "", "(a)  (b) ": "",
		"(a)": "Missing arguments.", "(a)b": "Expected a space.", "(a)\"b\"": "Expected a space.",
	} {
		for how, p := range pieces {
			lx, _ := lexerOn(in+"\r\n", p)
			item := func() { lx.Atom() }
			lx.List(item)
			lx.SP()
			lx.List(item)
			if got := fmt.Sprint(lx.End()); want == "" && got != "<nil>" || !strings.Contains(got, want) {
				t.Errorf("%s in %s: %s", in, how, got)
			}
		}
	}
	lx, _ := lexerOn("a(b)\r\n", pieces["whole"])
	if lx.Atom(); lx.More() {
		t.Error("a list begins at once behind an atom")
	}
	// Input before the command does not count.
	lx, _ = lexerOn("x NOOP)\r\n(a)\r\n", pieces["whole"])
	_ = lx.Skip()
	lx.Next()
	if lx.SP(); lx.Err() == nil {
		t.Error("a command begins behind a parenthesis of the one before it")
	}
}

// takeFetch parses a UID FETCH whose items are words.
func takeFetch(lx *Lexer) error {
	lx.Next()
	lx.Tag()
	lx.SP()
	lx.Word()
	lx.SP()
	lx.Word()
	lx.SP()
	lx.NumSet()
	lx.SP()
	lx.Enter()
	lx.Word()
	for lx.More() {
		lx.Word()
	}
	lx.Leave()
	return lx.End()
}

// TestNoAllocations: the frequent tokens are parsed without allocation.
func TestNoAllocations(t *testing.T) {
	in := []byte("a12 UID FETCH 1:5,7,9:* (UID FLAGS RFC822.SIZE)\r\n")
	src := bytes.NewReader(in)
	lx := &Lexer{Source: src, Limits: testLimits}
	n := testing.AllocsPerRun(100, func() {
		src.Reset(in)
		if err := takeFetch(lx); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
