package mailbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"maildird/maildir/filename"
)

// TestTableAgainstModel adds, reveals and expunges rows at random and compares
// numbering and look-up with a plain list.
func TestTableAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	tab := newTable()
	state := []rowState{}
	uid := uint32(0)
	for step := range 5000 {
		switch k := rng.IntN(4); {
		case k < 2 || len(state) == 0:
			uid += 1 + uint32(rng.IntN(3))
			n, _, _ := tab.add(uid, fmt.Sprintf("%d.M%dP1.host", step, uid))
			if int(n) != len(state) {
				t.Fatalf("row %d added, want %d", n, len(state))
			}
			state = append(state, absent)
			if k == 0 {
				tab.setState(n, present)
				state[n] = present
			}
		default:
			n := rng.IntN(len(state))
			s := rowState(rng.IntN(3))
			tab.setState(uint32(n), s)
			state[n] = s
		}
		if step%50 != 0 {
			continue
		}
		var alive []uint32
		for n, s := range state {
			if got := tab.before(uint32(n)); got != uint32(len(alive)) {
				t.Fatalf("step %d: before(%d) = %d, want %d", step, n, got, len(alive))
			}
			if s == present {
				alive = append(alive, uint32(n))
			}
			base := string(tab.base(uint32(n)))
			if got, ok := tab.lookup(base); !ok || got != uint32(n) {
				t.Fatalf("lookup(%q) = %d, %v, want %d", base, got, ok, n)
			}
			if got, ok := tab.byUID(tab.row(uint32(n)).uid); !ok || got != uint32(n) {
				t.Fatalf("byUID(%d) = %d, %v, want %d", tab.row(uint32(n)).uid, got, ok, n)
			}
		}
		for k, want := range alive {
			if got, ok := tab.nth(uint32(k)); !ok || got != want {
				t.Fatalf("step %d: nth(%d) = %d, %v, want %d", step, k, got, ok, want)
			}
		}
		if _, ok := tab.nth(uint32(len(alive))); ok {
			t.Fatal("nth past the end")
		}
	}
	if _, ok := tab.lookup("nothing"); ok {
		t.Fatal("found a base that was never added")
	}
}

// TestFilledTable compares a table that is filled at once with one that gets the
// same files one by one, also in what comes after.
func TestFilledTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	infos := []string{"", ":2,", ":2,S", ":2,FS", ":2,T", ":2,SF", ":2,Sa", ":1,x"}
	for _, size := range []int{0, 1, pageRows - 1, pageRows, pageRows + 1, 5*pageRows + 3, 1000} {
		whole, single := newTable(), newTable()
		files := make([]entry, size)
		taken := newTaken(whole.index.key, files)
		octets := 0
		for i := range files {
			files[i] = entry{place(rng.IntN(2)), fmt.Sprintf("%d.M%dP1.host", rng.Uint32(), i) + infos[rng.IntN(len(infos))]}
			base := filename.Base(files[i].name)
			*taken.slot(base) = uint32(i) + 1
			octets += len(base)
			n, _, _ := single.add(17+uint32(i), base)
			single.setName(n, files[i].where, files[i].name)
			single.setState(n, present)
			single.setRecent(n, true)
		}
		whole.fill(17, files, octets, taken.slots)
		for i := range pageRows + 2 { // and goes on alike
			for _, tab := range []*table{whole, single} {
				n, _, _ := tab.add(uint32(5000+i), fmt.Sprint("later", i))
				tab.setState(n, present)
				if n > 3 && i%3 == 0 {
					tab.setState(n/2, expunged)
				}
			}
		}
		if whole.n != single.n || whole.count != single.count || !slices.Equal(whole.alive, single.alive) || whole.index.used != single.index.used {
			t.Fatalf("%d files: %d rows, %d present, alive %d, %d in the index; one by one %d, %d, %d, %d", size,
				whole.n, whole.count, whole.alive, whole.index.used, single.n, single.count, single.alive, single.index.used)
		}
		for n := range whole.n {
			base := string(single.base(n))
			if *whole.row(n) != *single.row(n) || string(whole.base(n)) != base || whole.fileName(n) != single.fileName(n) {
				t.Fatalf("%d files: row %d is %+v %q, one by one %+v %q", size, n, *whole.row(n), whole.fileName(n), *single.row(n), single.fileName(n))
			}
			if got, ok := whole.lookup(base); !ok || got != n {
				t.Fatalf("%d files: lookup(%q) = %d, %v, want %d", size, base, got, ok, n)
			}
		}
		for i, p := range whole.pages {
			if q := single.pages[i]; p.first != q.first || p.counts != q.counts || p.alive != q.alive || len(p.odd) != len(q.odd) {
				t.Errorf("%d files: page %d is %+v, one by one %+v", size, i, p.counts, q.counts)
			}
		}
	}
}

func TestTableNames(t *testing.T) {
	tab := newTable()
	n, _, _ := tab.add(1, "b,S=3")
	for _, name := range []string{"b,S=3", "b,S=3:2,", "b,S=3:2,FSa", "b,S=3:2,SF", "b,S=3:2,SX", "b,S=3:1,S", "b,S=3:2,S,u=1"} {
		tab.setName(n, inCur, name)
		if got := tab.fileName(n); got != name {
			t.Errorf("file name %q became %q", name, got)
		}
	}
	if odd := tab.pages[0].odd; len(odd) != 1 {
		t.Errorf("%d odd names kept, want the last one only", len(odd))
	}
}

// TestLaterRecordWins: a base that is recorded twice belongs to the later UID.
func TestLaterRecordWins(t *testing.T) {
	tab := newTable()
	first, _, again := tab.add(1, "same")
	if again {
		t.Error("the first one is there again")
	}
	second, old, again := tab.add(2, "same")
	if !again || old != first {
		t.Errorf("of the same name was row %d (%v), want %d", old, again, first)
	}
	if n, _ := tab.lookup("same"); n != second {
		t.Errorf("lookup gives row %d, want %d", n, second)
	}
}

func TestMerged(t *testing.T) {
	for _, c := range []struct{ in, want []Range }{
		{nil, nil},
		{[]Range{{5, 9}}, []Range{{5, 9}}},
		{[]Range{{5, 9}, {1, 2}}, []Range{{1, 2}, {5, 9}}},
		{[]Range{{5, 9}, {1, 4}}, []Range{{1, 9}}},
		{[]Range{{1, 100}, {5, 6}, {7, 200}}, []Range{{1, 200}}},
		{[]Range{{3, ^uint32(0)}, {1, 2}, {9, 9}}, []Range{{1, ^uint32(0)}}},
	} {
		if got := merged(c.in); !slices.Equal(got, c.want) {
			t.Errorf("merged(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	tab := newTable()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("17000%05d.M%dP99V1I2.host.example,S=4321,W=4400", i, i)
		n, _, _ := tab.add(uint32(i+1), names[i])
		tab.setState(n, present)
	}
	i := 0
	for b.Loop() {
		tab.lookup(names[i%len(names)])
		i += 7919
	}
}
