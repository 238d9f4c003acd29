package history

import (
	"strings"
	"testing"

	"maildird/maildir/filename"
)

// TestLetters: the names of keyword letters are read back, and survive rewriting and
// recalling the journal.
func TestLetters(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	long := strings.Repeat("w", maxName)
	must(t, m.Add(Frame{ModSeq: m.Next(), Changed: []State{{7, filename.Keyword(0)}}, Letters: []Letter{{0, "one"}, {2, long}, {25, "last"}}}))
	must(t, m.Add(Frame{ModSeq: m.Next(), Changed: []State{{7, filename.Keyword(25)}}, Letters: []Letter{{0, ""}, {25, "other"}}}))
	want := Names{2: long, 25: "other"}
	check := func(what string, f *File) {
		t.Helper()
		if names := f.Letters(); names != want {
			t.Errorf("%s: letters %v", what, names)
		}
	}
	check("who wrote them", m.File)
	read := func(what string) *model {
		t.Helper()
		late := open(t, path, c)
		if change := late.Refresh(validity, func(*Frame) {}); change != Replaced {
			t.Fatalf("%s: the journal is %v", what, change)
		}
		check(what, late.File)
		return late
	}
	read("a reader")
	must(t, m.Rewrite([]Entry{{State: State{7, 0}, ModSeq: m.Highest()}}))
	read("after a rewrite")
	m.gone = nil
	must(t, m.Rewrite(nil))
	late := read("after a rewrite without messages")
	memo, ok := late.Memo()
	if !ok {
		t.Fatal("no memo")
	}
	again := open(t, path, c)
	if ok, same := again.Recall(memo, validity); !ok || !same {
		t.Fatalf("recalled: %v, %v", ok, same)
	}
	check("recalled", again.File)
	for n := range memo {
		if ok, _ := open(t, path, c).Recall(memo[:n], validity); ok {
			t.Fatalf("%d octets of %d are a memo", n, len(memo))
		}
	}
}
