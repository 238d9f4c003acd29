package uidlist

import (
	"fmt"
	"testing"
	"time"
)

// TestPutBack: a copy that is restored twice assigns other UIDs the second time, and one
// that is in use is left alone.
func TestPutBack(t *testing.T) {
	made := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		next, want uint32
		after      time.Duration
	}{
		"at once":                     {100, 100, 0},
		"after a minute":              {100, 100 + 60*uidsPerSecond, time.Minute},
		"after ten years":             {100, 100 + 300*24*3600*uidsPerSecond, 10 * 365 * 24 * time.Hour},
		"with the clock put back":     {100, 100, -time.Hour},
		"where few UIDs are left":     {MaxUID/2 - 5, MaxUID/2 - 5, time.Minute},
		"where there are just enough": {MaxUID/2 - 16, MaxUID / 2, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			h := Header{UIDValidity: 7, NextUID: c.next, GUID: "0123456789abcdef0123456789abcdef", Extra: []string{"Tx", "P2"}}
			h.MarkCopy(made.Add(-time.Hour))
			h.MarkCopy(made)
			put(t, d, string(appendHeader(nil, h))+"3 S5 :a\n9 :b\n")
			r := open(d)
			if _, got := r.refresh(t); len(got) != 2 || !r.h.IsCopy() {
				t.Fatalf("%v: %v", r.Header(), got)
			}
			must(t, r.PutBack(made.Add(c.after)))
			late := open(d)
			_, got := late.refresh(t)
			want := fmt.Sprintf("V7 N%d G0123456789abcdef0123456789abcdef Tx P2", c.want)
			if h := late.Header(); h.IsCopy() || h.String() != want {
				t.Errorf("%v, want %s", h, want)
			}
			if fmt.Sprint(got) != "[3 S5 :a 9 :b]" {
				t.Errorf("records %v", got)
			}
			if change, _ := r.refresh(t); change != Unchanged {
				t.Errorf("who put it back finds it %v", change)
			}
		})
	}
}

// TestRaiseNextUID: the list gets a higher next UID, never a lower one, and keeps its
// records, including those without files, which may be restored later.
func TestRaiseNextUID(t *testing.T) {
	d := openDir(t)
	h := Header{UIDValidity: 7, NextUID: 10, GUID: "0123456789abcdef0123456789abcdef", Extra: []string{"P2"}}
	put(t, d, string(appendHeader(nil, h))+"3 S5 :a\n9 :b\n")
	r := open(d)
	r.refresh(t)
	for _, c := range []struct{ next, want uint32 }{{12, 12}, {11, 12}} {
		must(t, r.RaiseNextUID(c.next))
		late := open(d)
		_, got := late.refresh(t)
		if h := late.Header(); h.NextUID != c.want || h.GUID != r.h.GUID || fmt.Sprint(got) != "[3 S5 :a 9 :b]" {
			t.Errorf("%v %v", h, got)
		}
	}
	if err := open(openDir(t)).RaiseNextUID(5); err == nil {
		t.Error("there was no list")
	}
}
