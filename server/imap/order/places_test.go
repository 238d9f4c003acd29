package order

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlaces checks that places are ordered by their numbers and texts, compared
// one after the other.
func TestPlaces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	text := func() []byte {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = "\x00\x00\x01a\xfe\xff"[rnd.IntN(6)]
		}
		return b
	}
	type row struct {
		number      int64
		first, last []byte
	}
	type key struct {
		of      int // 0 for the number, 1 for the first text, 2 for the last
		reverse bool
	}
	for range 300 {
		keys := []key{{0, rnd.IntN(2) == 0}, {1, rnd.IntN(2) == 0}, {2, rnd.IntN(2) == 0}}
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		keys = keys[:1+rnd.IntN(len(keys))]
		var maker PlaceMaker
		all := make([]row, 20)
		places := make([]Place, len(all))
		for i := range all {
			r := &all[i]
			*r = row{[]int64{-1 << 63, -1, 0, 1, 255, 256, 1<<63 - 1}[rnd.IntN(7)], text(), text()}
			for _, k := range keys {
				switch k.of {
				case 0:
					maker.Number(r.number, k.reverse)
				case 1:
					maker.Text(r.first, k.reverse)
				case 2:
					maker.Text(r.last, k.reverse)
				}
			}
			places[i] = maker.Place()
		}
		numbers := Sorted(places)
		for i := 1; i < len(numbers); i++ {
			a, b := numbers[i-1], numbers[i]
			if c := places[a].Compare(&places[b]); c > 0 || c == 0 && a >= b {
				t.Fatalf("sorted by %v: %d before %d", keys, a, b)
			}
		}
		if slices.Sort(numbers); len(numbers) != len(all) || len(slices.Compact(numbers)) != len(all) {
			t.Fatalf("sorted: %v are not all of %d", numbers, len(all))
		}
		for i, a := range all {
			for j, b := range all {
				want := 0
				for _, k := range keys {
					c := [...]int{cmp.Compare(a.number, b.number), bytes.Compare(a.first, b.first), bytes.Compare(a.last, b.last)}[k.of]
					if k.reverse {
						c = -c
					}
					want = cmp.Or(want, c)
				}
				if got := places[i].Compare(&places[j]); got != want {
					t.Fatalf("%+v and %+v by %v: %d, want %d", a, b, keys, got, want)
				}
			}
		}
	}
}
