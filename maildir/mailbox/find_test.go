package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// TestFind compares Find with examining each message of a view. Some of the messages are
// gone, some are \Recent, and others are not in the view yet.
func TestFind(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	b := newBox(t)
	letters := []filename.Flags{filename.Seen, filename.Seen, filename.Seen, filename.Flagged, filename.Deleted, filename.Keyword(0), 0}
	for i := range 4*table.PageRows + 30 {
		flags := letters[rng.IntN(len(letters))]
		flags |= letters[rng.IntN(len(letters))]
		if i/table.PageRows == 2 {
			flags = filename.Seen // so that the counts of a page say it all
		}
		where := "cur/"
		if i%50 == 3 {
			where, flags = "new/", 0
		}
		name := fmt.Sprintf("17%08d.M%dP1.other", i, i)
		if where == "cur/" {
			name = filename.WithFlags(name, flags)
		}
		must(t, os.WriteFile(b.file(where+name), nil, 0o600))
	}
	m := b.open(newEnv(t))
	defer m.Close()
	c, other := connect(t, m, false), connect(t, m, false)
	defer c.v.Close()
	defer other.v.Close()
	compare := func(when string) {
		t.Helper()
		all := c.all()
		for range 120 {
			test := randomTest(rng, uint32(len(all)), 3)
			var want []Message
			for _, msg := range all {
				if passes(&test, msg) {
					want = append(want, msg)
				}
			}
			tested := 0
			got, err := c.v.Find(&test, func(n int) error {
				if n < tested || n > len(all) {
					t.Fatalf("%d messages tested after %d, of %d", n, tested, len(all))
				}
				tested = n
				return nil
			})
			must(t, err)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %+v found %d messages, want %d\n%v\n%v", when, test, len(got), len(want), got, want)
			}
		}
	}
	compare("at first")
	must(t, m.Poll(ctx))
	for i, f := range slices.Sorted(maps.Keys(b.files())) {
		if i%7 == 0 || i > 3*table.PageRows && i < 3*table.PageRows+20 {
			b.remove(f)
		}
	}
	for range 5 {
		b.drop("new/")
	}
	other.poll(true)
	m.mu.RLock()
	gone := len(c.v.gone)
	m.mu.RUnlock()
	if gone == 0 {
		t.Fatal("no message of the view is gone")
	}
	compare("with messages that are gone")
	c.poll(true)
	compare("after all was told")
}

func randomTest(rng *rand.Rand, exists uint32, depth int) Test {
	op := TestOp(rng.IntN(int(InSeqs) + 1))
	if depth == 0 {
		op = AnyFlag + TestOp(rng.IntN(int(InSeqs-AnyFlag)+1))
	}
	test := Test{Op: op}
	switch op {
	case AllOf, AnyOf, Not:
		n := rng.IntN(4)
		if op == Not {
			n = 1
		}
		for range n {
			test.Tests = append(test.Tests, randomTest(rng, exists, depth-1))
		}
	case AnyFlag, NoFlag:
		for _, f := range []filename.Flags{filename.Seen, filename.Deleted, filename.Keyword(0), filename.Keyword(3)} {
			if rng.IntN(3) == 0 {
				test.Flags |= f
			}
		}
	case InUIDs, InSeqs:
		for range rng.IntN(5) {
			first := 1 + rng.Uint32N(exists+20)
			r := Range{first, first + rng.Uint32N(1+exists/uint32(1+rng.IntN(50)))}
			if rng.IntN(10) == 0 {
				r.Last = ^uint32(0)
			}
			test.Ranges = append(test.Ranges, r)
		}
	}
	return test
}

// passes defines the meaning of a Test.
func passes(t *Test, m Message) bool {
	in := func(n uint32) bool {
		return slices.ContainsFunc(t.Ranges, func(r Range) bool { return r.First <= n && n <= r.Last })
	}
	switch t.Op {
	case AllOf:
		return !slices.ContainsFunc(t.Tests, func(t Test) bool { return !passes(&t, m) })
	case AnyOf:
		return slices.ContainsFunc(t.Tests, func(t Test) bool { return passes(&t, m) })
	case Not:
		return !passes(&t.Tests[0], m)
	case AnyFlag:
		return m.Flags&t.Flags != 0
	case NoFlag:
		return m.Flags&t.Flags == 0
	case IsRecent:
		return m.Recent
	case InUIDs:
		return in(m.UID)
	}
	return in(m.Seq)
}

// TestFindEnds: an error from the caller's check ends the search.
func TestFindEnds(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	c := b.session(newEnv(t))
	stop := errors.New("nobody waits")
	if found, err := c.v.Find(&Test{}, func(int) error { return stop }); !errors.Is(err, stop) || found != nil {
		t.Errorf("%v, %v", found, err)
	}
}
