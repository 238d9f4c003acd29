package mailbox

import (
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestDeleteAt: deleteAt has the same result as slices.Delete of one index after another.
func TestDeleteAt(t *testing.T) {
	for range 500 {
		s := make([]uint32, rand.IntN(20))
		for i := range s {
			s[i] = uint32(i)
		}
		var indexes []int
		want := slices.Clone(s)
		for i := len(s) - 1; i >= 0; i-- {
			if rand.IntN(3) == 0 {
				want = slices.Delete(want, i, i+1)
				indexes = append(indexes, i)
				if rand.IntN(4) == 0 {
					indexes = append(indexes, i)
				}
			}
		}
		rand.Shuffle(len(indexes), func(i, j int) { indexes[i], indexes[j] = indexes[j], indexes[i] })
		if got := deleteAt(slices.Clone(s), slices.Clone(indexes)); !slices.Equal(got, want) {
			t.Fatalf("%d numbers without %v: %v, want %v", len(s), indexes, got, want)
		}
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

// TestUnwritableAtOnce: sessions select a mailbox that just became unwritable while others
// use it.
func TestUnwritableAtOnce(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	f := &hooked{wrong: func(op, path string) error {
		if op == "access" || op == "create" {
			return fs.ErrPermission
		}
		return nil
	}}
	m := b.openWith(newEnv(t), f.before)
	defer m.Close()
	c := connect(t, m, true)
	defer c.v.Close()
	for range 100 {
		for _, readOnly := range []bool{false, true} {
			f.on.Store(readOnly)
			var users sync.WaitGroup
			users.Go(func() {
				if v, err := m.NewView(ctx, false, nil); err != nil || v.ReadOnly() != readOnly {
					t.Errorf("read-only: %t, want %t (%v)", v.ReadOnly(), readOnly, err)
				} else {
					v.Close()
				}
			})
			users.Go(func() {
				for range 5 {
					if _, err := c.v.TellModSeq(ctx); err != nil {
						t.Error(err)
					}
				}
			})
			users.Wait()
		}
	}
}
