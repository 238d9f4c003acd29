package cache

import "testing"

// BenchmarkRead reads all records of a mailbox in their order.
func BenchmarkRead(b *testing.B) {
	const rows = 10_000
	sh := openShelf(b, newStore(b, Options{Dir: b.TempDir()}), rows)
	sh.fill(upTo(rows)...)
	keys := make([]Key, rows)
	for row := range keys {
		keys[row] = sh.key(uint32(row))
	}
	b.ReportAllocs()
	for b.Loop() {
		var w Window
		for row, key := range keys {
			if _, ok := sh.b.Read(&w, uint32(row), key); !ok {
				b.Fatal("a record is missing")
			}
		}
		w.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/record")
}

// BenchmarkOpen reads the index of a mailbox.
func BenchmarkOpen(b *testing.B) {
	const rows = 10_000
	s := newStore(b, Options{Dir: b.TempDir()})
	openShelf(b, s, rows).fill(upTo(rows)...)
	sh := openShelf(b, s, rows)
	sums := make([]uint64, rows)
	for row := range uint32(rows) {
		sums[row] = sh.key(row).Base
	}
	resolve := func(uid uint32) (uint32, uint64, uint32, bool) { return uid - 1, sums[uid-1], uid, true }
	b.ReportAllocs()
	for b.Loop() {
		box := s.NewBox()
		box.Open(inbox, resolve, nil)
		if box.Kinds(rows-1) == 0 {
			b.Fatal("a record is missing")
		}
		box.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/record")
}
