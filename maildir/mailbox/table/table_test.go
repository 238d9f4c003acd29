package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"maildird/maildir/filename"
)

// TestTableAgainstModel adds, reveals and expunges rows at random and compares numbering
// and look-up with a plain list.
func TestTableAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	tab := New()
	state := []State{}
	uid := uint32(0)
	for step := range 5000 {
		switch k := rng.IntN(4); {
		case k < 2 || len(state) == 0:
			uid += 1 + uint32(rng.IntN(3))
			n, _, _ := tab.Add(uid, fmt.Sprintf("%d.M%dP1.host", step, uid))
			if int(n) != len(state) {
				t.Fatalf("row %d added, want %d", n, len(state))
			}
			state = append(state, Absent)
			if k == 0 {
				tab.SetState(n, Present)
				state[n] = Present
			}
		default:
			n := rng.IntN(len(state))
			s := State(rng.IntN(3))
			tab.SetState(uint32(n), s)
			state[n] = s
		}
		if step%50 != 0 {
			continue
		}
		var alive []uint32
		for n, s := range state {
			if got := tab.Before(uint32(n)); got != uint32(len(alive)) {
				t.Fatalf("step %d: before(%d) = %d, want %d", step, n, got, len(alive))
			}
			if s == Present {
				alive = append(alive, uint32(n))
			}
			base := string(tab.Base(uint32(n)))
			if got, ok := tab.Lookup(base); !ok || got != uint32(n) {
				t.Fatalf("lookup(%q) = %d, %v, want %d", base, got, ok, n)
			}
			if got, ok := tab.ByUID(tab.Row(uint32(n)).UID); !ok || got != uint32(n) {
				t.Fatalf("byUID(%d) = %d, %v, want %d", tab.Row(uint32(n)).UID, got, ok, n)
			}
		}
		for k, want := range alive {
			if got, ok := tab.Nth(uint32(k)); !ok || got != want {
				t.Fatalf("step %d: nth(%d) = %d, %v, want %d", step, k, got, ok, want)
			}
		}
		if _, ok := tab.Nth(uint32(len(alive))); ok {
			t.Fatal("nth past the end")
		}
	}
	if _, ok := tab.Lookup("nothing"); ok {
		t.Fatal("found a base that was never added")
	}
	tab.lookUpAll(t)
}

// TestFilledTable compares a table that is filled at once with one that gets the same files
// one by one, including later changes.
func TestFilledTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	infos := []string{"", ":2,", ":2,S", ":2,FS", ":2,T", ":2,SF", ":2,Sa", ":1,x"}
	for _, size := range []int{0, 1, PageRows - 1, PageRows, PageRows + 1, 5*PageRows + 3, 1000} {
		whole, single := New(), New()
		files := make([]struct {
			where Place
			name  string
			inode uint32
		}, size)
		have := whole.NewBases(size, func(i uint32) string { return filename.Base(files[i].name) })
		octets := 0
		for i := range files {
			files[i].where, files[i].name = Place(rng.IntN(2)), fmt.Sprintf("%d.M%dP1.host", rng.Uint32(), i)+infos[rng.IntN(len(infos))]
			files[i].inode = rng.Uint32()
			base := filename.Base(files[i].name)
			*have.Slot(base) = uint32(i) + 1
			octets += len(base)
			n, _, _ := single.Add(17+uint32(i), base)
			single.SetName(n, files[i].where, files[i].name)
			single.SetInode(n, files[i].inode)
			single.SetState(n, Present)
			single.SetRecent(n, true)
		}
		whole.Fill(17, size, func(i int) (Place, string, uint32) { return files[i].where, files[i].name, files[i].inode }, octets, have)
		for i := range PageRows + 2 { // and goes on alike
			for _, tab := range []*Table{whole, single} {
				n, _, _ := tab.Add(uint32(5000+i), fmt.Sprint("later", i))
				tab.SetState(n, Present)
				if n > 3 && i%3 == 0 {
					tab.SetState(n/2, Expunged)
				}
			}
		}
		if whole.n != single.n || whole.count != single.count || !slices.Equal(whole.alive, single.alive) || whole.index.used != single.index.used {
			t.Fatalf("%d files: %d rows, %d present, alive %d, %d in the index; one by one %d, %d, %d, %d", size,
				whole.n, whole.count, whole.alive, whole.index.used, single.n, single.count, single.alive, single.index.used)
		}
		for n := range whole.n {
			base := string(single.Base(n))
			if *whole.Row(n) != *single.Row(n) || string(whole.Base(n)) != base || whole.FileName(n) != single.FileName(n) {
				t.Fatalf("%d files: row %d is %+v %q, one by one %+v %q", size, n, *whole.Row(n), whole.FileName(n), *single.Row(n), single.FileName(n))
			}
			if got, ok := whole.Lookup(base); !ok || got != n {
				t.Fatalf("%d files: lookup(%q) = %d, %v, want %d", size, base, got, ok, n)
			}
		}
		for i, p := range whole.pages {
			if q := single.pages[i]; p.first != q.first || p.Counts != q.Counts || p.alive != q.alive || len(p.odd) != len(q.odd) {
				t.Errorf("%d files: page %d is %+v, one by one %+v", size, i, p.Counts, q.Counts)
			}
		}
	}
}

func TestTableNames(t *testing.T) {
	tab := New()
	n, _, _ := tab.Add(1, "b,S=3")
	for _, name := range []string{"b,S=3", "b,S=3:2,", "b,S=3:2,FSa", "b,S=3:2,SF", "b,S=3:2,SX", "b,S=3:1,S", "b,S=3:2,S,u=1"} {
		tab.SetName(n, InCur, name)
		if got := tab.FileName(n); got != name {
			t.Errorf("file name %q became %q", name, got)
		}
	}
	if odd := tab.pages[0].odd; len(odd) != 1 {
		t.Errorf("%d odd names kept, want the last one only", len(odd))
	}
}

// TestLaterRecordWins: a base that is recorded twice belongs to the later UID.
func TestLaterRecordWins(t *testing.T) {
	tab := New()
	first, _, again := tab.Add(1, "same")
	if again {
		t.Error("the first one is there again")
	}
	second, old, again := tab.Add(2, "same")
	if !again || old != first {
		t.Errorf("of the same name was row %d (%v), want %d", old, again, first)
	}
	if n, _ := tab.Lookup("same"); n != second {
		t.Errorf("lookup gives row %d, want %d", n, second)
	}
}

func BenchmarkLookup(b *testing.B) {
	tab := New()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("17000%05d.M%dP99V1I2.host.example,S=4321,W=4400", i, i)
		n, _, _ := tab.Add(uint32(i+1), names[i])
		tab.SetState(n, Present)
	}
	// In random order, like that of a directory.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			for _, name := range names {
				tab.Lookup(name)
			}
		}
	})
	b.Run("each", func(b *testing.B) {
		rows := make([]uint32, len(names))
		for b.Loop() {
			tab.LookupEach(names, rows)
		}
	})
}
