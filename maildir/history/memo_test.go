package history

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestRecall: a File that recalls a memo continues as if it had read the journal, even if
// others wrote to it since; if it cannot be sure, it says so.
func TestRecall(t *testing.T) {
	path, c := t.TempDir(), newClock()
	a := open(t, path, c)
	a.refresh()
	change := func(m *model, f Frame) {
		t.Helper()
		f.ModSeq = m.Next()
		must(t, m.Add(f))
	}
	change(a, Frame{Changed: []State{{1, 2}, {2, 4}}, Gone: []Run{{3, 9}}})
	memo, ok := a.Memo()
	if !ok {
		t.Fatal("a journal in order has no memo")
	}
	recall := func(sameRun bool) (*model, bool, bool) {
		m := open(t, path, c)
		if !sameRun {
			m.run += 2
		}
		ok, same := m.Recall(memo, validity)
		return m, ok, same
	}
	equal := func(b *model) {
		t.Helper()
		if b.h != a.h || b.inode != a.inode || b.size != a.size || b.last != a.last || b.records != a.records || !slices.Equal(b.gone, a.gone) {
			t.Errorf("knows %+v, want %+v", b.File, a.File)
		}
	}
	for _, sameRun := range []bool{true, false} {
		b, ok, same := recall(sameRun)
		if !ok || !same {
			t.Errorf("recall gives %v, %v, want that nothing changed", ok, same)
		}
		equal(b)
		if b.EndLost() == sameRun || b.WantsRewrite(0) {
			t.Errorf("same run: %v, end lost: %v, to be rewritten: %v", sameRun, b.EndLost(), b.WantsRewrite(0))
		}
		if got := b.refresh(); got != Unchanged {
			t.Errorf("refresh gives %d, want that nothing changed", got)
		}
	}
	text, err := os.ReadFile(filepath.Join(path, Name))
	must(t, err)
	for _, at := range []int{20, headerSize + 2, len(text) - 1} { // a crash left the size, but not all of the content
		spoilt := slices.Clone(text)
		spoilt[at] ^= 1
		must(t, os.WriteFile(filepath.Join(path, Name), spoilt, 0o600))
		must(t, os.Chtimes(filepath.Join(path, Name), time.Time{}, a.mtime))
		memo, _ = a.Memo()
		if b, ok, _ := recall(false); !ok || !b.EndLost() || !b.WantsRewrite(0) {
			t.Errorf("with octet %d of %d damaged, recalled: %v, end lost: %v, to be rewritten: %v", at, len(text), ok, b.EndLost(), b.WantsRewrite(0))
		}
	}
	must(t, os.WriteFile(filepath.Join(path, Name), text, 0o600))
	must(t, os.Chtimes(filepath.Join(path, Name), time.Time{}, a.mtime))
	memo, _ = a.Memo()
	change(a, Frame{Changed: []State{{10, 1}}})
	if _, ok, _ := recall(false); ok {
		t.Error("a journal that others appended to counts after the machine was started anew")
	}
	b, ok, same := recall(true)
	if !ok || same {
		t.Errorf("recall gives %v, %v, want that others appended", ok, same)
	}
	if got := b.refresh(); got != Appended {
		t.Errorf("refresh gives %d, want what was appended", got)
	}
	equal(b)
	if ok, _ := open(t, path, c).Recall(memo, validity+1); ok {
		t.Error("a journal of another UIDVALIDITY counts")
	}
	must(t, a.Rewrite([]Entry{{State: State{1, 2}, ModSeq: 5}}))
	if _, ok, _ := recall(true); ok {
		t.Error("a journal that was written anew counts")
	}
}

func FuzzRecall(f *testing.F) {
	path, c := f.TempDir(), newClock()
	a := open(f, path, c)
	a.refresh()
	must(f, a.Add(Frame{ModSeq: a.Next(), Gone: []Run{{3, 9}}}))
	memo, _ := a.Memo()
	f.Add(memo)
	f.Fuzz(func(t *testing.T, memo []byte) {
		b := open(t, path, c)
		if ok, _ := b.Recall(memo, validity); ok {
			b.refresh()
			b.GoneSince(1)
		}
	})
}
