package uidlist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const memoList = "3 V7 N9 G0123456789abcdef0123456789abcdef P2\n1 :a\n2 S12 :b\n5 :c\n"

// TestRecall: a File that recalls a memo finds what was appended since, and no more.
func TestRecall(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
		ok     bool
		same   bool
		want   Change
		got    string
	}{
		{"nothing", func(*testing.T, string) {}, true, true, Unchanged, ""},
		{"appended", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("9 :d\n")
			must(t, err)
			must(t, f.Close())
		}, true, false, Appended, "9 :d"},
		{"replaced", func(t *testing.T, path string) {
			must(t, os.WriteFile(path+".new", []byte("3 V7 N9 G0123456789abcdef0123456789abcdef\n5 :c\n"), 0o600))
			must(t, os.Rename(path+".new", path))
		}, false, false, Replaced, "5 :c"},
		{"changed in place, with its old time", func(t *testing.T, path string) {
			st, err := os.Stat(path)
			must(t, err)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("x"), int64(strings.Index(memoList, ":b")+1))
			must(t, err)
			must(t, f.Close())
			must(t, os.Chtimes(path, st.ModTime(), st.ModTime()))
		}, false, false, Replaced, "1 :a|2 S12 :x|5 :c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t)
			put(t, d, memoList)
			path := filepath.Join(d.Path(), Name)
			past := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(path, past, past))
			a := open(d)
			a.refresh(t)
			memo, ok := a.Memo()
			if !ok {
				t.Fatal("a list in order has no memo")
			}
			// The change time has the granularity of the kernel's clock.
			for st, err := os.Stat(path); ; {
				must(t, err)
				probe := filepath.Join(d.Path(), "probe")
				must(t, os.WriteFile(probe, nil, 0o600))
				now, err := os.Stat(probe)
				must(t, err)
				if now.ModTime().Sub(a.seen.ctime) > 0 {
					break
				}
				_ = st
			}
			c.change(t, path)
			b := open(d)
			ok, same := b.Recall(memo)
			if ok != c.ok || same != c.same {
				t.Errorf("recall gives %v, %v, want %v, %v", ok, same, c.ok, c.same)
			}
			if got := b.Header(); ok && got.String() != a.Header().String() {
				t.Errorf("header is %v, want %v", got, a.Header())
			}
			change, got := b.refresh(t)
			if change != c.want || strings.Join(got, "|") != c.got {
				t.Errorf("refresh gives %v, %q, want %v, %q", change, got, c.want, c.got)
			}
			if b.log.Len() > 0 {
				t.Errorf("logged %s", b.log.String())
			}
		})
	}
}

// TestNoMemo: a list that has to be put in order is read again.
func TestNoMemo(t *testing.T) {
	d := openDir(t)
	a := open(d)
	if _, ok := a.Memo(); ok {
		t.Error("a list that was not read has a memo")
	}
	put(t, d, memoList+"3 :late\n")
	a.refresh(t)
	if _, ok := a.Memo(); ok {
		t.Error("a damaged list has a memo")
	}
}

func FuzzRecall(f *testing.F) {
	d := openDir(f)
	put(f, d, memoList)
	a := open(d)
	_, err := a.Refresh(func(Record) {})
	must(f, err)
	memo, _ := a.Memo()
	f.Add(memo)
	f.Add(slices.Concat(memo, []byte{3, 0, 0, 0, 'P', '2', 'x'}))
	f.Fuzz(func(t *testing.T, memo []byte) {
		b := open(d)
		if ok, _ := b.Recall(memo); ok {
			b.refresh(t)
		}
	})
}
