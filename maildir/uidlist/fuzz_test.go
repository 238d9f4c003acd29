package uidlist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
)

// FuzzList reads any file, writes the result as a proper list, and reads that again.
func FuzzList(f *testing.F) {
	head := "3 V17 N1 G" + guid + "\n"
	for _, seed := range []string{
		"", "\n", "3", head, head + "1 :a\n2 S1 W2 :b\n", head + "1 :a\n7 :b", "1 17 3\n1 a\n2 b c:2,S\n", "3 P2 V1 N4294967295 Gx\n4294967294 :a\n",
		head + "5 :e\n1 :a\n5 :x\n\x00\x00\n\x009 :f\n", head + "12 :1700.M13 W7 :1701\n", "2 1 1\n", "3 V0\n1 :a\n", head + "1  S1   :a\n", head + "1 S1 :\n",
	} {
		f.Add(seed)
	}
	d := openDir(f)
	f.Fuzz(func(t *testing.T, file string) {
		one, all := readText(t, d, file)
		h := one.Header()
		if h.UIDValidity == 0 {
			if len(all) > 0 {
				t.Fatalf("%d records without UIDVALIDITY", len(all))
			}
			return
		}
		out := appendHeader(nil, h)
		for i, r := range all {
			if !writable(r) || i > 0 && r.UID <= all[i-1].UID || r.UID >= h.NextUID {
				t.Fatalf("record %+v (next UID %d) after %+v", r, h.NextUID, all[:i])
			}
			out = appendRecord(out, r)
		}
		again, back := readText(t, d, string(out))
		g := again.Header()
		if !slices.Equal(all, back) || again.damaged || g.UIDValidity != h.UIDValidity || g.NextUID != h.NextUID || !slices.Equal(h.Extra, g.Extra) {
			t.Fatalf("%+v with %+v was read again as %+v with %+v", h, all, g, back)
		}
	})
}

func readText(t *testing.T, d *dirfd.Dir, file string) (*File, []Record) {
	f := New(d, Options{})
	var all []Record
	must(t, f.readAll(strings.NewReader(file), fileState{size: int64(len(file))}, func(r Record) { all = append(all, r) }))
	return f, all
}

// FuzzGrowing reads a file that grows in two steps, with the same result as reading it at
// once, except that a UID that was cut off is not assigned either.
func FuzzGrowing(f *testing.F) {
	head := "3 V17 N1 G" + guid + "\n"
	for _, seed := range []string{head + "1 :a\n2 S1 W2 :b\n", head + "5 :e\n1 :a\n5 :x\n", head + "1 :" + strings.Repeat("a", 300) + "\n2 :b\n", "1 17 3\n1 a\n2 b c:2,S\n"} {
		f.Add(seed, uint16(len(seed)/2))
	}
	d := openDir(f)
	f.Fuzz(func(t *testing.T, text string, cut uint16) {
		_ = os.Remove(filepath.Join(d.Path(), Name))
		at := min(int(cut), len(text))
		put(t, d, text[:at])
		steps := New(d, Options{})
		got := map[uint32]string{}
		note := func(r Record) {
			if have, ok := got[r.UID]; !ok || have == r.Base {
				got[r.UID] = strings.Clone(r.Base)
			}
		}
		_, err := steps.Refresh(note)
		must(t, err)
		add(t, d, text[at:])
		_, err = steps.Refresh(note)
		must(t, err)
		put(t, d, text)
		once := New(d, Options{})
		n := 0
		_, err = once.Refresh(func(r Record) {
			n++
			if got[r.UID] != r.Base {
				t.Fatalf("UID %d is %q, in two steps %q", r.UID, r.Base, got[r.UID])
			}
		})
		must(t, err)
		if n != len(got) {
			t.Fatalf("%d records, in two steps %d", n, len(got))
		}
		a, b := once.Header(), steps.Header()
		if a.UIDValidity != b.UIDValidity || a.UIDValidity != 0 && a.NextUID > b.NextUID {
			t.Fatalf("header %+v, in two steps %+v", a, b)
		}
	})
}
