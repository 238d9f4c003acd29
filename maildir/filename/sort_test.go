package filename

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type placed struct {
	name  string
	place int
}

func byPlace(a, b placed) int { return cmp.Compare(a.place, b.place) }

func nameOf(p placed) string { return p.name }

// TestSortBy sorts names many of which are equal in what is compared first, or lack it. The
// result does not depend on the previous order, and is that of Compare if that is
// consistent: what Dovecot's qsort makes of these names.
func TestSortBy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	orders, none := 0, 0
	for n := range 600 {
		n %= 60
		list := make([]placed, n)
		for i := range list {
			list[i] = placed{
				pick("", "17", "1700000000", "1700000001", fmt.Sprint(1700000000+rng.IntN(n))) +
					pick("", ".", ".M5P1", ".P1", ".1_0", ".M05P2", fmt.Sprintf(".M%dP1", rng.IntN(n)), ".M18446744073709551615P", ".V8M6", ".R7") +
					pick("", ".host", ".\xc3\xa4") + pick("", ":2,", ":2,S", ":1,"),
				rng.IntN(2),
			}
		}
		SortBy(list, nameOf, byPlace)
		shuffled := slices.Clone(list)
		rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		SortBy(shuffled, nameOf, byPlace)
		if !slices.Equal(list, shuffled) {
			t.Fatalf("sorted as\n%v and\n%v", list, shuffled)
		}
		want := slices.Clone(list)
		ordered := func() bool {
			for i := range want {
				for _, after := range want[i:] {
					if cmp.Or(Compare(want[i].name, after.name), byPlace(want[i], after)) > 0 {
						return false
					}
				}
			}
			return true
		}
		slices.SortFunc(want, func(a, b placed) int { return cmp.Or(Compare(a.name, b.name), byPlace(a, b)) })
		if !ordered() {
			none++
		} else if orders++; !slices.Equal(list, want) {
			t.Fatalf("sorted as\n%v, want\n%v", list, want)
		}
	}
	if orders < 100 || none < 100 {
		t.Errorf("Compare was an order %d times, and none %d times", orders, none)
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

// FuzzSortBy sorts any names: all are there afterwards, those of one second are together,
// and the order is that of Compare if all have microseconds, or none has. The result does
// not depend on the previous order.
func FuzzSortBy(f *testing.F) {
	for _, s := range []string{"", "2.b\n1.a\n1.a:2,S\n1.a", "1.M5.a\n1.M4.b\n0.x\n\xff\n:\n1", "18446744073709551617.x\n1.y\n1.M99999999999.z"} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(40))
	}
	f.Fuzz(func(t *testing.T, text string, times uint8) {
		var names []string
		for i := range int(times%50) + 1 {
			for name := range strings.SplitSeq(text, "\n") {
				names = append(names, strings.Repeat("7", i%3)+name)
			}
		}
		if len(names) > 5000 {
			return
		}
		got := slices.Clone(names)
		SortBy(got, func(s string) string { return s }, func(a, b string) int { return 0 })
		other := slices.Clone(names)
		slices.Reverse(other)
		if SortBy(other, func(s string) string { return s }, func(a, b string) int { return 0 }); !slices.Equal(got, other) {
			t.Fatalf("%q and, the other way, %q", got, other)
		}
		all := slices.Sorted(slices.Values(got))
		if slices.Sort(names); !slices.Equal(all, names) {
			t.Fatalf("%q became %q", names, got)
		}
		micro := 0
		for i, name := range got {
			seconds, rest := leadingNumber(name)
			if _, ok := microseconds(rest); ok {
				micro++
			}
			if before, _ := leadingNumber(got[max(i-1, 0)]); int64(before) > int64(seconds) {
				t.Fatalf("%q after %q", name, got[i-1])
			}
		}
		if (micro == 0 || micro == len(got)) && !slices.IsSortedFunc(got, Compare) {
			t.Fatalf("not sorted: %q", got)
		}
	})
}
