package delivery

import (
	"fmt"
	"strings"
	"testing"
)

// TestMemoryIsBounded: of many messages that are not complete yet, a limited number is held in
// memory; the others are delivered all the same, and later ones are in memory again.
func TestMemoryIsBounded(t *testing.T) {
	const more = 10
	f, o := newFolder(t), newOptions()
	f.open().Close()
	text := strings.Repeat("x", spoolMemory/2) + "\n"
	var spools []*Spool
	large := func() (n int) {
		for _, s := range spools {
			if cap(s.buf) >= spoolMemory {
				n++
			}
		}
		return n
	}
	begin := func() *Spool {
		s := NewSpool([]Target{f.target(fmt.Sprintf("A: %d\n", len(spools)))}, false, o)
		fill(s, text)
		spools = append(spools, s)
		return s
	}
	for range mostWhole + more {
		begin()
	}
	if n := large(); n != mostWhole {
		t.Errorf("%d messages are in memory, want %d", n, mostWhole)
	}
	for _, s := range spools[more : len(spools)-more] {
		s.Abort()
	}
	if begin(); large() != more+1 {
		t.Errorf("%d messages are in memory, want %d", large(), more+1)
	}
	for _, s := range append(spools[:more:more], spools[len(spools)-more-1:]...) {
		must(t, s.Commit()[0])
	}
	for _, got := range f.contents("new") {
		if _, body, _ := strings.Cut(got, "\n"); body != text {
			t.Errorf("a message has %d bytes, want %d", len(body), len(text))
		}
	}
	if n := len(f.names("new")); n != 2*more+1 {
		t.Errorf("%d messages, want %d", n, 2*more+1)
	}
	f.checkEmpty("tmp")
	if n := o.wholes.Load(); n != 0 {
		t.Errorf("%d are counted in the end", n)
	}
}
