package table

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/octets"
)

// file is a file's place and name.
type file struct {
	where Place
	name  string
	inode uint32
}

// compareMarks compares a table's marks with the files that a model has of its rows,
// without reading anything but the marks.
func compareMarks(t *testing.T, tab *Table, rows []file, states []State) {
	t.Helper()
	m := tab.Marks()
	for _, where := range []Place{InNew, InCur} {
		var names []string
		var inodes, want []uint32
		for n, f := range rows {
			present := uint32(0)
			if states[n] == Present && f.where == where {
				present = uint32(n) + 1
			}
			names = append(names, f.name, f.name, f.name+"x", filename.Base(f.name)+":2,DFPRST")
			inodes = append(inodes, f.inode, f.inode+1, f.inode, f.inode)
			want = append(want, present, 0, 0, 0)
		}
		rand.Shuffle(len(names), func(i, k int) {
			names[i], names[k] = names[k], names[i]
			inodes[i], inodes[k] = inodes[k], inodes[i]
			want[i], want[k] = want[k], want[i]
		})
		got := make([]uint32, len(names))
		m.FindEach(where, names, inodes, got)
		for i, name := range names {
			if got[i] != want[i] {
				t.Fatalf("%q in %d is the file of row %d, want %d", name, where, int64(got[i])-1, int64(want[i])-1)
			}
		}
	}
	for n, want := range states {
		if got := m.State(uint32(n)); got != want {
			t.Fatalf("row %d is %d, want %d", n, got, want)
		}
	}
}

// reopened writes a table and reads it again, as another process would.
func reopened(t *testing.T, tab *Table) *Table {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "snapshot"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, tab.Write(f, octets.AppendText(nil, "state"), 0, 7, new(sync.Mutex)))
	tab.Close()
	tab, _, _, err = Read(f, 7, func(d *octets.Decoder) { d.Text() }, func(error) {})
	must(t, err)
	t.Cleanup(tab.Close)
	return tab
}

// TestLostOnce: however many parts of a table cannot be read, the owner is told once. There
// is one for each 256 messages, and he logs it.
func TestLostOnce(t *testing.T) {
	tab := New()
	for i := range uint32(3 * PageRows) {
		tab.Add(i+1, fmt.Sprint("base", i))
	}
	path, told := filepath.Join(t.TempDir(), "snapshot"), 0
	f, err := os.Create(path)
	must(t, err)
	must(t, tab.Write(f, octets.AppendText(nil, "state"), 0, 7, new(sync.Mutex)))
	tab.Close()
	tab, _, _, err = Read(f, 7, func(d *octets.Decoder) { d.Text() }, func(error) { told++ })
	must(t, err)
	defer tab.Close()
	must(t, os.Truncate(path, snapFront))
	if tab.LoadAll() || !tab.Broken() || told != 1 {
		t.Errorf("broken is %v, told %d times", tab.Broken(), told)
	}
}

// TestMarks changes a table at random; the table is written and read again now and then, so
// that some of its rows are in the file and some were added or changed.
func TestMarks(t *testing.T) {
	infos := []string{"", ":2,", ":2,S", ":2,FS", ":2,T", ":2,Sa", ":2,SF", ":1,x", ":2,S,u=1"}
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tab := New()
		var rows []file
		var states []State
		uid := uint32(0)
		for range 12 {
			for range rng.IntN(300) {
				uid += 1 + uint32(rng.IntN(3))
				base := fmt.Sprintf("%d.M%dP1.host", rng.Uint32(), uid)
				tab.Add(uid, base)
				rows, states = append(rows, file{InNew, base, 0}), append(states, Absent)
			}
			for range rng.IntN(20) * min(len(rows), 1) {
				n := rng.IntN(len(rows))
				switch rng.IntN(4) {
				case 0:
					rows[n] = file{Place(rng.IntN(2)), filename.Base(rows[n].name) + infos[rng.IntN(len(infos))], rows[n].inode}
					tab.SetName(uint32(n), rows[n].where, rows[n].name)
				case 1:
					states[n] = State(rng.IntN(3))
					tab.SetState(uint32(n), states[n])
				case 2:
					rows[n].inode = rng.Uint32()
					tab.SetInode(uint32(n), rows[n].inode)
				case 3: // many
					for ; n < len(rows); n++ {
						states[n] = Present
						tab.SetState(uint32(n), Present)
					}
				}
			}
			compareMarks(t, tab, rows, states)
			if len(rows) > 0 && rng.IntN(2) == 0 {
				tab = reopened(t, tab)
				unread := tab.Unread()
				compareMarks(t, tab, rows, states)
				if tab.Unread() != unread {
					t.Fatalf("of %d parts that were not read only %d are left", unread, tab.Unread())
				}
			}
		}
	}
}

// TestMarksDamaged: if marks are not as they were written, none is used.
func TestMarksDamaged(t *testing.T) {
	tab := New()
	for i := range uint32(1000) {
		n, _, _ := tab.Add(i+1, fmt.Sprint(i))
		tab.SetState(n, Present)
	}
	tab = reopened(t, tab)
	at := tab.saved.marks.off + 777
	var b [1]byte
	_, err := tab.saved.file.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 4
	_, err = tab.saved.file.WriteAt(b[:], at)
	must(t, err)
	rows := make([]uint32, 1)
	if tab.Marks().FindEach(InNew, []string{"7"}, make([]uint32, 1), rows); rows[0] != 0 || !tab.Broken() {
		t.Errorf("row %d is found, broken is %v", int64(rows[0])-1, tab.Broken())
	}
}

// TestMarksKeyed: names that collide in one table do not collide in another one.
func TestMarksKeyed(t *testing.T) {
	if a, b := New().index.key.mark(InCur, 7, []byte("name")), New().index.key.mark(InCur, 7, []byte("name")); a == b {
		t.Errorf("a name has the mark %x in two tables", a)
	}
}

// BenchmarkListed compares the names of a listing with the table: by their marks, with the
// table's rows in memory or in a snapshot, and by their bases.
func BenchmarkListed(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		tab := New()
		names, bases, inodes := make([]string, n), make([]string, n), make([]uint32, n)
		for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(n) { // in the order of no list
			bases[k] = fmt.Sprintf("17000%05d.M%dP99V1I2.host.example,S=4321,W=4400", i, i)
			names[k] = bases[k] + ":2,S"
			n, _, _ := tab.Add(uint32(i+1), bases[k])
			tab.SetName(n, InCur, names[k])
			inodes[k] = uint32(i + 1)
			tab.SetInode(n, inodes[k])
			tab.SetState(n, Present)
		}
		rows := make([]uint32, n)
		b.Run(fmt.Sprintf("%d/marks", n), func(b *testing.B) {
			m := tab.Marks()
			for b.Loop() {
				m.FindEach(InCur, names, inodes, rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/name")
		})
		b.Run(fmt.Sprintf("%d/marks made too", n), func(b *testing.B) {
			for b.Loop() {
				tab.Marks().FindEach(InCur, names, inodes, rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/name")
		})
		b.Run(fmt.Sprintf("%d/bases", n), func(b *testing.B) {
			for b.Loop() {
				tab.LookupEach(bases, rows)
				for i, r := range rows {
					if !tab.HasName(r-1, InCur, names[i]) {
						b.Fatal(names[i])
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/name")
		})
	}
}
