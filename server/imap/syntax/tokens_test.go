package syntax

import (
	"fmt"
	"io"
	"testing"
	"unicode/utf8"
)

// takers parse tokens, and return what they parsed.
var takers = []func(*Lexer) any{
	func(lx *Lexer) any { return lx.Mailbox() },
	func(lx *Lexer) any { return lx.DateTime().Unix() },
	func(lx *Lexer) any { return lx.Date().Unix() },
	func(lx *Lexer) any { return lx.NumSet() },
	func(lx *Lexer) any {
		b, isNil := lx.NString()
		return fmt.Sprint(string(b), isNil)
	},
	func(lx *Lexer) any {
		s := Section{Kind: BodySection}
		lx.Section(&s)
		if s.Partial == nil {
			return fmt.Sprint(s.Name, s.Part, s.Specifier)
		}
		return fmt.Sprint(s.Name, s.Part, s.Specifier, *s.Partial)
	},
	func(lx *Lexer) any {
		lit, ok := lx.LiteralHeader()
		if !ok {
			return nil
		}
		text, _ := io.ReadAll(lx.StreamLiteral())
		return fmt.Sprint(lit.Size, lit.Binary, string(text))
	},
	func(lx *Lexer) any {
		var all []any
		lx.List(func() {
			switch {
			case lx.Peek() == '(':
				lx.OptionalList(func() { all = append(all, lx.Number64()) })
			case lx.Follows("UID "):
				all = append(all, string(lx.Word()))
				lx.SP()
				all = append(all, lx.NZNumber())
			default:
				all = append(all, lx.PatternText(lx.ListMailbox()))
			}
		})
		return all
	},
}

// TestRawNames: before ENABLE, names in plain UTF-8 are accepted too, including those with U+FFFD,
// which stands for what cannot be displayed.
func TestRawNames(t *testing.T) {
	for in, want := range map[string]string{
		"Entw\u00fcrfe": "Entw\u00fcrfe", "a\ufffdb": "a\ufffdb", "a&,,0-b": "a\ufffdb", "a\xffb": "", "a\xef\xbf": "",
	} {
		lx, _ := lexerOn(`"`+in+"\"\r\n", pieces["whole"])
		got := lx.Mailbox()
		if err := lx.End(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// FuzzTokens parses tokens of all kinds from the same input. The results and the beginning of
// the next command must not depend on how the input arrives, whether or not the command failed;
// and names must be UTF-8.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		`"INBOX"`, "inbox", "Entw&APw-rfe", "{5+}\r\nA&-B!", `"17-Jul-1996 02:44:25 -0700"`, `" 1-Feb-94 1:02:03 EST"`, "1-Feb-1994",
		"1:*,3,$", "NIL", `"a\"b\\c"`, "[1.2.HEADER.FIELDS (To \"Cc\")]<0.1024>", "[]",
		"~{3+}\r\na\x00b", "{2}\r\nab", "{0}\r\n", "(1 2) {3+}\r\nxyz)", "(a%* uid 7 (1 9223372036854775807) {1+}\r\n*)", "bad { {1+}\r\nx {2}",
		"{99999999999999999999+}\r\n", "? {4+}\r\nb\r\nc d {1+}\r\n.",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, in string, utf8Names bool) {
		for i, take := range takers {
			var first string
			for _, how := range []string{"whole", "octets"} {
				lx, asked := lexerOn(in+"\r\nNEXT a\r\n", pieces[how])
				lx.UTF8 = utf8Names
				took := fmt.Sprintf("%v", take(lx))
				if err := lx.End(); err != nil {
					took = "error " + err.Error()
				} else if i == 0 && !utf8.ValidString(took) {
					t.Fatalf("%q gives the name %q", in, took)
				}
				err := lx.Skip()
				if err == nil {
					lx.Next()
				}
				took = fmt.Sprintf("%s, asked %d times, then %v, %s", took, *asked, err, lx.Tag())
				if first == "" {
					first = took
				}
				if took != first {
					t.Fatalf("taker %d of %q gives %q in %s, and %q at once", i, in, took, how, first)
				}
			}
		}
	})
}
