package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns a text about a Maildir in a form that fits on one line and has no effect on
// a terminal: users choose the names of their folders and files, and it is root who reads them.
// Other characters than printable ones become escape sequences of Go.
func printable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(text[:n])
		} else {
			quoted := strconv.Quote(text[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

// printableError is an error with a printable text.
type printableError struct{ error }

func (e printableError) Error() string { return printable(e.error.Error()) }
func (e printableError) Unwrap() error { return e.error }
