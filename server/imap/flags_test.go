package imap

import (
	"strings"
	"testing"
)

func TestFlagLists(t *testing.T) {
	lx := lexerOn(`(\seen \FLAGGED \Recent $Forwarded NonJunk)`+"\r\n", pieces["octets"])
	set := lx.flagList()
	if err := lx.End(); err != nil {
		t.Fatal(err)
	}
	if want := systemFlags[1].flag | systemFlags[3].flag; set.system != want || strings.Join(set.words, " ") != "$Forwarded NonJunk" {
		t.Errorf("%+v", set)
	}
	lx = lexerOn(`\Deleted x`+"\r\n", pieces["octets"])
	if set := lx.flagsArgument(); lx.End() != nil || len(set.words) != 1 || set.system == 0 {
		t.Errorf("%+v, %v", set, lx.Err())
	}
	for _, in := range []string{`(\Foo)`, `(\)`, `(\*)`, `(a(b)`, `("a")`, `(` + strings.Repeat("x", 300) + `)`} {
		lx := lexerOn(in+"\r\n", pieces["octets"])
		lx.flagList()
		if lx.End() == nil {
			t.Errorf("%s was taken", in)
		}
	}
}
