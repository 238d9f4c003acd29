package uidlist

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func seq(recs ...Record) iter.Seq[Record] { return slices.Values(recs) }

func TestAppend(t *testing.T) {
	head := "3 V17 N1 G" + guid + " P2\n"
	for _, c := range []struct{ name, before, after string }{
		{"to records", head + "1 :a\n", head + "1 :a\n2 Gx :b\n5 :c\n"},
		{"to nothing", head, head + "2 Gx :b\n5 :c\n"},
		{"behind an unfinished line", head + "1 :a\n1 :zz", "3 V17 N6 G" + guid + " P2\n1 :a\n2 Gx :b\n5 :c\n"},
		{"to a damaged list", head + "junk\n1 S1 :a\n", "3 V17 N6 G" + guid + " P2\n1 S1 :a\n2 Gx :b\n5 :c\n"},
		{"to version 1", "1 17 2\n1 a\n", "3 V17 N6 G* \n1 :a\n2 Gx :b\n5 :c\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t)
			put(t, d, c.before)
			f, other := open(d), open(d)
			f.refresh(t)
			other.refresh(t)
			must(t, f.Append([]Record{{2, "Gx", "b"}, {5, "", "c"}}))
			want := strings.Replace(c.after, "G* ", "G"+f.Header().GUID, 1)
			if got := content(t, d); got != want {
				t.Errorf("the file is\n%swant\n%s", got, want)
			}
			if n := f.Header().NextUID; n != 6 {
				t.Errorf("next UID %d", n)
			}
			if change, got := f.refresh(t); change != Unchanged {
				t.Errorf("its own records are news: %v %q", change, got)
			}
			if _, got := other.refresh(t); !slices.Contains(got, "5 :c") {
				t.Errorf("another reader got %q", got)
			}
			must(t, f.Append([]Record{{6, "", "d"}}))
			if _, got := other.refresh(t); !slices.Equal(got, []string{"6 :d"}) {
				t.Errorf("another reader got %q", got)
			}
		})
	}
}

// TestAppendRefuses: records that could not be read back, and UIDs that are not new.
func TestAppendRefuses(t *testing.T) {
	d := openDir(t)
	f := open(d)
	f.refresh(t)
	if f.Append([]Record{{1, "", "a"}}) == nil {
		t.Error("appended to a list that is not there")
	}
	put(t, d, "3 V17 N4 G"+guid+"\n7 :a\n")
	f.refresh(t)
	before := content(t, d)
	for _, r := range []Record{
		{7, "", "b"}, {3, "", "b"}, {0, "", "b"}, {MaxUID + 1, "", "b"}, {8, "", ""}, {8, "", "a:b"}, {8, "", "a\nb"}, {8, "", "a/b"},
		{8, "", strings.Repeat("a", 256)}, {8, "G\n", "b"}, {8, "Gx :y", "b"}, {8, ":x", "b"}, {8, " Gx", "b"},
	} {
		if f.Append([]Record{r}) == nil {
			t.Errorf("appended %+v", r)
		}
		if f.Rewrite(f.Header(), seq(Record{7, "", "a"}, r)) == nil && r.UID > 7 {
			t.Errorf("wrote %+v", r)
		}
	}
	if now := content(t, d); now != before {
		t.Errorf("the file became\n%s", now)
	}
	if names := entries(t, d.Path()); !slices.Equal(names, []string{Name}) {
		t.Errorf("left behind: %q", names)
	}
}

func entries(t testing.TB, path string) []string {
	list, err := os.ReadDir(path)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestChangedUnderLock: a list that has changed since it was read is not written, so that
// no records are lost and no UID is assigned twice.
func TestChangedUnderLock(t *testing.T) {
	d := openDir(t)
	put(t, d, "3 V17 N1 G"+guid+"\n1 :a\n")
	f := open(d)
	f.refresh(t)
	add(t, d, "2 :b\n")
	if err := f.Append([]Record{{2, "", "c"}}); !errors.Is(err, errChanged) {
		t.Errorf("Append: %v", err)
	}
	f.refresh(t)
	add(t, d, "3 :c\n")
	if err := f.Rewrite(f.Header(), seq(Record{1, "", "a"})); !errors.Is(err, errChanged) {
		t.Errorf("Rewrite: %v", err)
	}
	if got := content(t, d); !strings.HasSuffix(got, "1 :a\n2 :b\n3 :c\n") {
		t.Errorf("the file is %s", got)
	}
	f = open(d)
	if err := f.Rewrite(Header{UIDValidity: 18}, seq()); !errors.Is(err, errChanged) {
		t.Errorf("Rewrite of a list that was not read: %v", err)
	}
	if _, got := f.refresh(t); len(got) != 3 {
		t.Errorf("read %q after it all", got)
	}
}

// TestRewrite: records and the header keep unknown fields, and what a reader knew stays
// true.
func TestRewrite(t *testing.T) {
	d := openDir(t)
	put(t, d, "3 P2 V17 N9 Xy\n1 S1 W2 :a\n2 Q7 :b\n4 S3 :d\n6 :f\n")
	must(t, os.WriteFile(filepath.Join(d.Path(), tempName), []byte("left behind"), 0o400))
	f, other := open(d), open(d)
	f.refresh(t)
	other.refresh(t)
	must(t, f.Rewrite(f.Header(), seq(Record{1, "", "a"}, Record{3, "", "c"}, Record{4, "", "not d"}, Record{6, "Gq", "f"}, Record{12, "", "l"})))
	want := "3 V17 N9 G" + f.Header().GUID + " P2 Xy\n1 S1 W2 :a\n3 :c\n4 :not d\n6 Gq :f\n12 :l\n"
	if got := content(t, d); got != want {
		t.Errorf("the file is\n%swant\n%s", got, want)
	}
	if h := f.Header(); h.NextUID != 13 || len(h.GUID) != 32 {
		t.Errorf("header %s", h)
	}
	if change, got := f.refresh(t); change != Unchanged {
		t.Errorf("its own list is news: %v %q", change, got)
	}
	if change, got := other.refresh(t); change != Replaced || len(got) != 5 {
		t.Errorf("another reader: %v %q", change, got)
	}
	must(t, f.Rewrite(Header{UIDValidity: 17, NextUID: 3, GUID: guid}, seq()))
	if got := content(t, d); got != "3 V17 N13 G"+guid+"\n" {
		t.Errorf("the next UID went back: %s", got)
	}
	if names := entries(t, d.Path()); !slices.Equal(names, []string{Name}) {
		t.Errorf("left behind: %q", names)
	}
	if f.Rewrite(Header{NextUID: 3}, seq()) == nil {
		t.Error("a list without UIDVALIDITY was written")
	}
}

// TestWantsRewrite: Dovecot's rule of three quarters, except for short lists, and whatever Dovecot
// could not read as it is.
func TestWantsRewrite(t *testing.T) {
	head := "3 V17 N1 G" + guid + "\n"
	four := head + "1 :a\n2 :b\n3 :c\n4 :d\n"
	for _, c := range []struct {
		file        string
		live, short int
		want        bool
	}{
		{four, 4, 0, false}, {four, 3, 0, true}, {four, 0, 0, true}, {head, 0, 0, false}, {head + "1 :a\n", 1, 0, false}, {head + "1 :a\n", 0, 0, true},
		{four, 3, 3, true}, {four, 3, 4, false}, {four, 0, 4, false},
		{four, 5, 9, true}, {four + "5", 4, 9, true}, {four + "\n", 4, 9, true}, {"1 17 3\n1 a\n", 1, 9, true}, {"3 V17 N2\n1 :a\n", 1, 9, true},
	} {
		d := openDir(t)
		put(t, d, c.file)
		f := open(d)
		f.refresh(t)
		if got := f.WantsRewrite(c.live, c.short); got != c.want {
			t.Errorf("%d live in %q, short up to %d: %v", c.live, c.file, c.short, got)
		}
	}
}

// TestRandom lets two programs append to, rewrite and read one list, one after another,
// with damage in between, and compares it with what it should be.
func TestRandom(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			d := openDir(t)
			var model []Record // what the file holds
			next := uint32(1)
			torn := false
			type program struct {
				*reading
				knows map[uint32]string
			}
			var programs []program
			for range 3 {
				programs = append(programs, program{open(d), map[uint32]string{}})
			}
			p := programs[0]
			p.refresh(t)
			must(t, p.Rewrite(Header{UIDValidity: 17, Extra: []string{"P2"}}, seq()))
			look := func(p program) {
				change, err := p.Refresh(func(r Record) {
					if have, ok := p.knows[r.UID]; ok && have != text(r) {
						t.Fatalf("UID %d was %q and is %q", r.UID, have, text(r))
					}
					p.knows[r.UID] = text(r)
				})
				must(t, err)
				for _, r := range model {
					if p.knows[r.UID] != text(r) {
						t.Fatalf("%v: UID %d is %q, want %q", change, r.UID, p.knows[r.UID], text(r))
					}
				}
				if h := p.Header(); h.NextUID < next || h.UIDValidity != 17 || !slices.Equal(h.Extra, []string{"P2"}) {
					t.Fatalf("header %s, next UID %d", h, next)
				}
			}
			for range 150 {
				p := programs[rng.IntN(len(programs))]
				look(p)
				switch rng.IntN(6) {
				case 0, 1:
					var recs []Record
					for range 1 + rng.IntN(4) {
						next += 1 + uint32(rng.IntN(2))
						recs = append(recs, Record{UID: next, Ext: []string{"", "S12", "S1 Q?"}[rng.IntN(3)], Base: fmt.Sprint("base", rng.IntN(1000))})
					}
					next++
					must(t, p.Append(recs))
					model = append(model, recs...)
					for _, r := range recs {
						p.knows[r.UID] = text(r)
					}
					torn = false
				case 2:
					var live []Record
					model = slices.DeleteFunc(model, func(Record) bool { return rng.IntN(5) == 0 })
					for _, r := range model {
						live = append(live, Record{UID: r.UID, Base: r.Base})
					}
					must(t, p.Rewrite(p.Header(), slices.Values(live)))
					torn = false
				case 3: // a program dies while it appends
					if torn {
						continue // it would have put that in order first
					}
					torn = true
					line := fmt.Sprintf("%d S7 :torn", next)
					line = line[:1+rng.IntN(len(line))]
					if strings.Contains(line, " ") {
						next++
					}
					add(t, d, line)
				}
			}
			for _, p := range programs {
				look(p)
			}
		})
	}
}

// TestPanicInStep: a bug in one of the steps reaches the caller of Prepare once the others have
// ended, and the list is as it was.
func TestPanicInStep(t *testing.T) {
	fault := func() { panic("a fault") }
	faults := map[string]func(s *Steps, records *iter.Seq[Record]){
		"before":    func(s *Steps, _ *iter.Seq[Record]) { s.Before = func() error { fault(); return nil } },
		"meanwhile": func(s *Steps, _ *iter.Seq[Record]) { s.Meanwhile = fault },
		"records":   func(_ *Steps, records *iter.Seq[Record]) { *records = func(func(Record) bool) { fault() } },
	}
	for name, add := range faults {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			const text = "3 V17 N2 G" + guid + "\n1 :a\n"
			put(t, d, text)
			f := open(d)
			f.refresh(t)
			var done atomic.Bool
			steps := Steps{Before: func() error { done.Store(true); return nil }}
			records := seq(Record{1, "", "b"})
			add(&steps, &records)
			func() {
				defer func() {
					if p := fmt.Sprint(recover()); !strings.Contains(p, "a fault") {
						t.Errorf("panic %s", p)
					}
					if name != "before" && !done.Load() {
						t.Error("the panic did not wait for the other step")
					}
				}()
				t.Error(f.Prepare(Header{UIDValidity: 17}, records, steps))
			}()
			if now, err := os.ReadFile(filepath.Join(d.Path(), Name)); err != nil || string(now) != text {
				t.Errorf("the list is %q (%v)", now, err)
			}
		})
	}
}

// TestChangedMeanwhile: while a disk hangs, another program may take over the lock. What it
// then writes is not replaced by a list of which the writing began before, and no other
// program's unfinished list gets the name.
func TestChangedMeanwhile(t *testing.T) {
	for _, c := range []struct{ what, before, written, name string }{
		{"appended", "3 V17 N1 G" + guid + "\n1 :a\n", "3 V17 N1 G" + guid + "\n1 :a\n2 :b\n", Name},
		{"written where there was none", "", "3 V18 N1 G" + guid + "\n1 :b\n", Name},
		{"being written", "3 V17 N1 G" + guid + "\n1 :a\n", "3 V17 N1 G" + guid + "\n1", tempName},
	} {
		t.Run(c.what, func(t *testing.T) {
			d := openDir(t)
			if c.before != "" {
				put(t, d, c.before)
			}
			f := open(d)
			f.refresh(t)
			theirs := filepath.Join(d.Path(), c.name)
			err := f.Prepare(Header{UIDValidity: 17}, seq(Record{1, "", "a"}), Steps{Before: func() error {
				if c.name == tempName {
					must(t, os.Remove(theirs))
				}
				return os.WriteFile(theirs, []byte(c.written), 0o600)
			}})
			if err == nil || c.name == Name && !errors.Is(err, errChanged) {
				t.Errorf("Prepare: %v", err)
			}
			if text, err := os.ReadFile(theirs); err != nil || string(text) != c.written {
				t.Errorf("the other program's list is now\n%s%v", text, err)
			}
			if change, _ := f.refresh(t); c.name == Name && change != Replaced {
				t.Errorf("the next Refresh: %v", change)
			}
		})
	}
}
