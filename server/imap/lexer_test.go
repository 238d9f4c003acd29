package imap

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
)

var testGrammar = newGrammar(extensions(&Config{}))

var testLimits = lexLimits{line: 1000, literal: 100, skip: 400, depth: 5}

// lexerOn returns a lexer of input that comes in pieces of any size, and counts
// how often it asked for a literal.
func lexerOn(input string, pieces func(io.Reader) io.Reader) (*lexer, *int) {
	asked := new(int)
	lx := newLexer(pieces(strings.NewReader(input)), testGrammar, testLimits, func() { *asked++ })
	lx.next()
	return lx, asked
}

// pieces are ways in which input arrives.
var pieces = map[string]func(io.Reader) io.Reader{
	"whole":    func(r io.Reader) io.Reader { return r },
	"octets":   iotest.OneByteReader,
	"with EOF": iotest.DataErrReader,
}

func TestStrings(t *testing.T) {
	tests := []struct {
		in   string
		take func(*lexer) string
		want string // "" means an error
	}{
		{"abc\r\n", func(lx *lexer) string { return string(lx.atom()) }, "abc"},
		{"a[b<c\r\n", func(lx *lexer) string { return string(lx.atom()) }, "a[b<c"},
		{"abc]\r\n", func(lx *lexer) string { return string(lx.astring()) }, "abc]"},
		{"abc]\r\n", func(lx *lexer) string { return string(lx.atom()) }, ""},
		{"\xe4\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"a*b%c\\d\r\n", (*lexer).mailbox, `a*b%c\d`},
		{"a\"b\r\n", (*lexer).mailbox, ""},
		{"body.Peek[]\r\n", func(lx *lexer) string { w := string(lx.word()); lx.expect('['); lx.expect(']'); return w }, "BODY.PEEK"},
		{"+flags.Silent\r\n", func(lx *lexer) string { return string(lx.word()) }, "+FLAGS.SILENT"},
		{`"a b"` + "\r\n", func(lx *lexer) string { return string(lx.astring()) }, "a b"},
		{`"a\"\\b"` + "\n", func(lx *lexer) string { return string(lx.str()) }, `a"\b`},
		{`"a\b"` + "\r\n", func(lx *lexer) string { return string(lx.str()) }, ""},
		{`"a` + "\r\n", func(lx *lexer) string { return string(lx.str()) }, ""},
		{"\"a\x00\"\r\n", func(lx *lexer) string { return string(lx.str()) }, ""},
		{"\"\xc3\xa4\"\r\n", func(lx *lexer) string { return string(lx.str()) }, "\xc3\xa4"},
		{"{3}\r\nabc\r\n", func(lx *lexer) string { return string(lx.str()) }, "abc"},
		{"{3+}\r\na\r\n\r\n", func(lx *lexer) string { return string(lx.astring()) }, "a\r\n"},
		{"{3}\nabc\n", func(lx *lexer) string { return string(lx.astring()) }, "abc"},
		{"{3+}\r\na\x00c\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"{3-}\r\nabc\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"{}\r\n\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"{101+}\r\n" + strings.Repeat("x", 101) + "\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"abc\r\n", func(lx *lexer) string { return string(lx.str()) }, ""},
		{"\r\n", func(lx *lexer) string { return string(lx.astring()) }, ""},
		{"inbox\r\n", (*lexer).mailbox, "INBOX"},
		{"Entw&APw-rfe\r\n", (*lexer).mailbox, "Entwürfe"},
		{`"[Gmail]/All Mail"` + "\r\n", (*lexer).mailbox, "[Gmail]/All Mail"},
		{"a&b\r\n", (*lexer).mailbox, ""},
		{"abc   \r\n", func(lx *lexer) string { return string(lx.atom()) }, "abc"},
		{"abc def\r\n", func(lx *lexer) string { return string(lx.atom()) }, ""},
		{"abc\rdef\n", func(lx *lexer) string { return string(lx.atom()) }, ""},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			lx, _ := lexerOn(tt.in, p)
			got := tt.take(lx)
			err := lx.end()
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
	if b, isNil := lx.nstring(); b != nil || !isNil {
		t.Errorf("got %q, %v", b, isNil)
	}
	lx.sp()
	if b, isNil := lx.nstring(); string(b) != "NIL" || isNil {
		t.Errorf("got %q, %v", b, isNil)
	}
	lx.sp()
	if _, isNil := lx.nstring(); isNil || lx.err == nil {
		t.Error("an atom was taken for a string")
	}
}

// What was returned stays as it was until the next command, however much is
// read after it.
func TestTokensStay(t *testing.T) {
	for how, p := range pieces {
		long := strings.Repeat("x", 90)
		var in strings.Builder
		for range 10 {
			in.WriteString(long + " ")
		}
		in.WriteString("end\r\nnext\r\n")
		lx, _ := lexerOn(in.String(), p)
		lx.limits.line = 2000
		var got [][]byte
		for range 10 {
			got = append(got, lx.atom())
			lx.sp()
		}
		if string(lx.atom()) != "end" || lx.end() != nil {
			t.Fatalf("%s: %v", how, lx.err)
		}
		for _, b := range got {
			if string(b) != long {
				t.Errorf("%s: token changed to %q", how, b)
			}
		}
		lx.next()
		if string(lx.atom()) != "next" || lx.end() != nil {
			t.Errorf("%s: next command: %v", how, lx.err)
		}
	}
}

func TestBigCommandsKeepTokens(t *testing.T) {
	lx, _ := lexerOn("", pieces["whole"])
	lx.limits.line = 100_000
	line := strings.Repeat("abcdefghi ", 9000)
	lx.src = strings.NewReader(line + "\r\nx\r\n")
	var words [][]byte
	for {
		words = append(words, lx.atom())
		if !lx.more() {
			break
		}
	}
	if err := lx.end(); err != nil || len(words) != 9000 {
		t.Fatal(len(words), err)
	}
	for _, w := range words {
		if string(w) != "abcdefghi" {
			t.Fatalf("word changed to %q", w)
		}
	}
	lx.next()
	if string(lx.atom()) != "x" {
		t.Error(lx.err)
	}
}

func TestLimits(t *testing.T) {
	t.Run("line", func(t *testing.T) {
		lx, _ := lexerOn(strings.Repeat("x ", 20_000)+"\r\nnext\r\n", pieces["whole"])
		for lx.run(classAtom) != nil && lx.accept(' ') {
		}
		var status *imap.Error
		if !errors.As(lx.err, &status) || status.Code != imap.ResponseCodeTooBig {
			t.Fatal(lx.err)
		}
		if err := lx.skip(); err != nil {
			t.Fatal(err)
		}
		lx.next()
		if string(lx.atom()) != "next" {
			t.Error("the next command is not found")
		}
		if cap(lx.buf) > 4*readBufferSize {
			t.Errorf("buffer grew to %d", cap(lx.buf))
		}
	})
	t.Run("depth", func(t *testing.T) {
		lx, _ := lexerOn(strings.Repeat("(", 100)+"\r\n", pieces["whole"])
		for lx.err == nil {
			lx.enter()
		}
		if lx.depth != testLimits.depth+1 {
			t.Errorf("depth %d", lx.depth)
		}
	})
	t.Run("number", func(t *testing.T) {
		for in, want := range map[string]uint64{"4294967295": 1<<32 - 1, "4294967296": 0, "99999999999999999999999": 0, "007": 7} {
			lx, _ := lexerOn(in+"\r\n", pieces["octets"])
			if n := lx.number(); uint64(n) != want || (lx.err == nil) != (want != 0) {
				t.Errorf("%s: %d, %v", in, n, lx.err)
			}
		}
		lx, _ := lexerOn("9223372036854775808\r\n", pieces["whole"])
		if lx.number64(); lx.err == nil {
			t.Error("a number of 64 bits was taken")
		}
	})
}

// A command that failed is skipped with its literals, and the next one works.
func TestSkip(t *testing.T) {
	tests := []struct {
		name, in string
		take     func(*lexer)
		asked    int
	}{
		{"nothing taken", "a b c\r\n", func(lx *lexer) { lx.fail("x") }, 0},
		{"bare LF", "a b c\n", func(lx *lexer) { lx.fail("x") }, 0},
		{"at the end of the line", "abc\r\n", func(lx *lexer) { lx.atom(); lx.sp() }, 0},
		{"sync literal behind the error", "a ( {5}\r\n", func(lx *lexer) { lx.atom(); lx.fail("x") }, 0},
		{"non-sync literal behind the error", "a ( {5+}\r\nx\r\ny\r\r\n", func(lx *lexer) { lx.atom(); lx.fail("x") }, 0},
		{"several literals behind the error", "a {1+}\r\n\n {2+}\r\n\r\n x {0+}\r\n\r\n", func(lx *lexer) { lx.fail("x") }, 0},
		{"literal8", "a ~{4+}\r\n\x00\r\n\n rest\r\n", func(lx *lexer) { lx.fail("x") }, 0},
		{"error at a literal that was announced", "{5+}\r\nabc\r\n rest\r\n", func(lx *lexer) { lx.literalHeader(); lx.fail("x") }, 0},
		{"error at a sync literal that was announced", "{5}\r\n", func(lx *lexer) { lx.literalHeader(); lx.fail("x") }, 0},
		{"in the middle of a stream", "{9}\r\nabc\r\nde\r\n rest {2+}\r\n\r\n\r\n",
			func(lx *lexer) {
				lx.literalHeader()
				_, _ = io.ReadFull(lx.streamLiteral(), make([]byte, 4))
				lx.fail("x")
			}, 1},
		{"too big non-sync literal", "{101+}\r\n" + strings.Repeat("\n", 101) + " x\r\n", func(lx *lexer) { lx.astring() }, 0},
		{"too big sync literal", "{101}\r\n", func(lx *lexer) { lx.astring() }, 0},
		{"everything taken", "abc\r\n", func(lx *lexer) { lx.atom(); _ = lx.end() }, 0},
		{"unfinished quoted string", "\"abc {3+}\r\n\r\n\n\r\n", func(lx *lexer) { lx.str() }, 0},
		{"looks like a literal", "abc }\r\n", func(lx *lexer) { lx.fail("x") }, 0},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			t.Run(tt.name+" in "+how, func(t *testing.T) {
				lx, asked := lexerOn(tt.in+"next one\r\n", p)
				tt.take(lx)
				if err := lx.skip(); err != nil {
					t.Fatal(err)
				}
				lx.next()
				if got := lx.atom(); string(got) != "next" {
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
	lx.fail("x")
	var status *imap.Error
	if err := lx.skip(); !errors.As(err, &status) || status.Type != imap.StatusResponseTypeBye {
		t.Error(err)
	}
}

func TestStreamLiteral(t *testing.T) {
	body := strings.Repeat("0123456789", 5000)
	for how, p := range pieces {
		for _, write := range []bool{false, true} {
			lx, asked := lexerOn("mailbox {50000}\r\n"+body+" rest\r\nnext\r\n", p)
			name := string(lx.atom())
			lx.sp()
			lit, ok := lx.literalHeader()
			if !ok || lit.size != 50000 || !lit.sync || lit.binary {
				t.Fatalf("%s: %+v", how, lit)
			}
			var got bytes.Buffer
			var err error
			if r := lx.streamLiteral(); write {
				_, err = r.WriteTo(&got)
			} else {
				_, err = io.Copy(&got, struct{ io.Reader }{r})
			}
			if err != nil || got.String() != body || *asked != 1 {
				t.Fatalf("%s: %d octets, %v, asked %d times", how, got.Len(), err, *asked)
			}
			lx.sp()
			if string(lx.atom()) != "rest" || lx.end() != nil || name != "mailbox" {
				t.Fatalf("%s: %v", how, lx.err)
			}
			if cap(lx.buf) > 2*readBufferSize {
				t.Errorf("%s: buffer grew to %d", how, cap(lx.buf))
			}
			lx.next()
			if string(lx.atom()) != "next" {
				t.Errorf("%s: next command: %v", how, lx.err)
			}
		}
	}
}

func TestStreamEndsEarly(t *testing.T) {
	lx, _ := lexerOn("{10+}\r\nabc", pieces["octets"])
	lx.literalHeader()
	got, err := io.ReadAll(lx.streamLiteral())
	if string(got) != "abc" || !isConnError(err) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLists(t *testing.T) {
	tests := []struct {
		in    string
		empty bool // may the list be empty
		want  string
	}{
		{"(a b c)", false, "a b c"},
		{"( a  b )", false, ""},
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
		item := func() { got = append(got, string(lx.atom())) }
		if tt.empty {
			lx.optionalList(item)
		} else {
			lx.list(item)
		}
		err := lx.end()
		if tt.want == "error" || tt.in == "( a  b )" && !tt.empty {
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

func TestFlagLists(t *testing.T) {
	lx, _ := lexerOn(`(\seen \FLAGGED \Recent $Forwarded NonJunk)`+"\r\n", pieces["octets"])
	set := lx.flagList()
	if err := lx.end(); err != nil {
		t.Fatal(err)
	}
	if want := systemFlags[1].flag | systemFlags[3].flag; set.system != want || strings.Join(set.words, " ") != "$Forwarded NonJunk" {
		t.Errorf("%+v", set)
	}
	lx, _ = lexerOn(`\Deleted x`+"\r\n", pieces["octets"])
	if set := lx.flagsArgument(); lx.end() != nil || len(set.words) != 1 || set.system == 0 {
		t.Errorf("%+v, %v", set, lx.err)
	}
	for _, in := range []string{`(\Foo)`, `(\)`, `(\*)`, `(a(b)`, `("a")`, `(` + strings.Repeat("x", 300) + `)`} {
		lx, _ := lexerOn(in+"\r\n", pieces["octets"])
		lx.flagList()
		if lx.end() == nil {
			t.Errorf("%s was taken", in)
		}
	}
}

// The hot tokens of a command are taken without allocation.
func TestNoAllocations(t *testing.T) {
	in := []byte("a12 UID FETCH 1:5,7,9:* (UID FLAGS RFC822.SIZE)\r\n")
	src := bytes.NewReader(in)
	lx := newLexer(src, testGrammar, testLimits, func() {})
	n := testing.AllocsPerRun(100, func() {
		src.Reset(in)
		lx.next()
		lx.tag()
		lx.sp()
		lx.word()
		lx.sp()
		lx.word()
		lx.sp()
		lx.seqSet()
		lx.sp()
		lx.enter()
		lx.word()
		for lx.more() {
			lx.word()
		}
		lx.leave()
		if err := lx.end(); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
