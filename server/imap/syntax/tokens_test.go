package syntax

import (
	"fmt"
	"testing"
	"unicode/utf8"
)

// takers take tokens, and say what they took.
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
}

// FuzzTokens takes tokens of all kinds from the same input. What is taken does
// not depend on how the input arrives, and names are UTF-8.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		`"INBOX"`, "inbox", "Entw&APw-rfe", "{5+}\r\nA&-B!", `"17-Jul-1996 02:44:25 -0700"`, `" 1-Feb-94 1:02:03 EST"`, "1-Feb-1994",
		"1:*,3,$", "NIL", `"a\"b\\c"`, "[1.2.HEADER.FIELDS (To \"Cc\")]<0.1024>", "[]",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, in string, utf8Names bool) {
		for i, take := range takers {
			var first string
			for _, how := range []string{"whole", "octets"} {
				lx, _ := lexerOn(in+"\r\n", pieces[how])
				lx.UTF8 = utf8Names
				took := fmt.Sprintf("%v", take(lx))
				if err := lx.End(); err != nil {
					took = "error " + err.Error()
				} else if i == 0 && !utf8.ValidString(took) {
					t.Fatalf("%q gives the name %q", in, took)
				}
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
