package filename

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

type placed struct {
	name  string
	place int
}

func byPlace(a, b placed) int { return cmp.Compare(a.place, b.place) }

func nameOf(p placed) string { return p.name }

// TestSortBy compares it with a sort by Compare, for names of which many are
// equal in what is looked at first, or lack it.
func TestSortBy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	for n := range 120 {
		list := make([]placed, n)
		for i := range list {
			list[i] = placed{
				pick("", "17", "1700000000", "1700000001", fmt.Sprint(1700000000+rng.IntN(n))) +
					pick("", ".", ".M5P1", ".P1", ".1_0", ".M05P2", fmt.Sprintf(".M%dP1", rng.IntN(n)), ".M18446744073709551615P") +
					pick("", ".host", ".\xc3\xa4") + pick("", ":2,", ":2,S", ":1,"),
				rng.IntN(2),
			}
		}
		want := slices.Clone(list)
		slices.SortFunc(want, func(a, b placed) int {
			if c := Compare(a.name, b.name); c != 0 {
				return c
			}
			return byPlace(a, b)
		})
		SortBy(list, nameOf, byPlace)
		if !slices.Equal(list, want) {
			t.Fatalf("sorted as\n%v, want\n%v", list, want)
		}
	}
}

// BenchmarkSortBy sorts the names of a folder that is listed for the first time.
func BenchmarkSortBy(b *testing.B) {
	shuffled := make([]placed, 10_000)
	for i := range shuffled {
		shuffled[i].name = fmt.Sprintf("17%08d.M%dP99V1I2.host.example,S=4321,W=4400:2,S", 7*i, i)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	list := make([]placed, len(shuffled))
	b.ReportAllocs()
	for b.Loop() {
		copy(list, shuffled)
		SortBy(list, nameOf, byPlace)
	}
}
