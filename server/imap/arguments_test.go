package imap

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"maildird/server/imap/syntax"
)

var testGrammar = newGrammar(extensions(&Config{}))

var testLimits = syntax.Limits{Line: 1000, Literal: 100, Skip: 400, Depth: 5}

// lexerOn returns a lexer whose input arrives in pieces of any size.
func lexerOn(input string, pieces func(io.Reader) io.Reader) *lexer {
	lx := &lexer{Lexer: syntax.Lexer{Source: pieces(strings.NewReader(input)), Limits: testLimits, Continue: func() {}}, grammar: testGrammar}
	lx.Next()
	return lx
}

// pieces are ways in which input can arrive.
var pieces = map[string]func(io.Reader) io.Reader{
	"whole":    func(r io.Reader) io.Reader { return r },
	"octets":   iotest.OneByteReader,
	"with EOF": iotest.DataErrReader,
}

// takers parse the arguments of commands, and return what they parsed.
var takers = []func(*lexer) any{
	func(lx *lexer) any { return lx.flagsArgument() },
	func(lx *lexer) any {
		req := lx.storeArguments()
		if since := req.unchangedSince; since != nil {
			req.unchangedSince = nil
			return fmt.Sprint(req, *since)
		}
		return req
	},
	func(lx *lexer) any {
		set, dest := lx.copyArguments()
		return fmt.Sprint(set, dest)
	},
	func(lx *lexer) any {
		cmd, _ := lx.listCommand()
		return fmt.Sprint(cmd.reference, cmd.patterns, cmd.ListOptions)
	},
	func(lx *lexer) any {
		var names []string
		for _, item := range lx.statusItems() {
			names = append(names, item.name)
		}
		return names
	},
}

// FuzzArguments parses the arguments of several commands from the same input. The result must
// not depend on how the input arrives.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		`(\Seen $Label1)`, `\Seen \Flagged`, ` 1:4 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\Deleted)`, " 2:4 Trash", " $ {8+}\r\nEntw&APw-",
		` (SUBSCRIBED RECURSIVEMATCH) "" ("%" "a*") RETURN (CHILDREN STATUS (MESSAGES))`, "(MESSAGES UIDNEXT SIZE)",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, in string, utf8Names bool) {
		for i, take := range takers {
			var first string
			for _, how := range []string{"whole", "octets"} {
				lx := lexerOn(in+"\r\n", pieces[how])
				lx.UTF8 = utf8Names
				took := fmt.Sprintf("%v", take(lx))
				if err := lx.End(); err != nil {
					took = "error " + err.Error()
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
