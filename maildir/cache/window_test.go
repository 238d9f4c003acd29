package cache

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWindowReadsRecordsInAnyOrder: one window finds each record, however the
// records stand in the file and in whatever order they are asked for, with the
// largest there can be among them.
func TestWindowReadsRecordsInAnyOrder(t *testing.T) {
	const rows = 3000
	sh := openShelf(t, newStore(t, Options{Dir: t.TempDir()}), rows)
	rnd := rand.New(rand.NewPCG(21, 22))
	want := map[uint32]Record{}
	for _, row := range mixed(upTo(rows), 200) {
		r := sample(row)
		if rnd.IntN(200) == 0 {
			for k := range kinds {
				r.Set(k, slices.Repeat([]byte{byte(row)}, MaxPiece))
			}
		}
		want[row] = r
		sh.add(row, r)
	}
	sh.b.Flush()
	backwards, shuffled := upTo(rows), upTo(rows)
	slices.Reverse(backwards)
	rnd.Shuffle(rows, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	var w Window
	defer w.Close()
	for name, order := range map[string][]uint32{
		"in order": upTo(rows), "as they stand": mixed(upTo(rows), 200), "backwards": backwards, "shuffled": shuffled,
	} {
		for _, row := range order {
			got, ok := sh.b.Read(&w, row, sh.key(row))
			if wanted := want[row]; !ok || !sameRecord(&got, &wanted) {
				t.Fatalf("%s: row %d is there: %v, or is another", name, row, ok)
			}
		}
	}
}
