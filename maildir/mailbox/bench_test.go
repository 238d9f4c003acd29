package mailbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

func bigBox(b *testing.B, n int) *box {
	x := newBox(b)
	for i := range n {
		name := fmt.Sprintf("17%08d.M%dP99V1I2.host.example,S=4321,W=4400:2,S", i, i)
		must(b, os.WriteFile(x.file("cur/"+name), nil, 0o600))
	}
	return x
}

// BenchmarkOpen is a SELECT of a folder that this process has not seen.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, env := bigBox(b, n), newEnv(b)
			x.open(env).Close() // writes the uidlist
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				x.open(env).Close()
			}
		})
	}
}

// BenchmarkNeverSeen is a SELECT of a folder without a uidlist, durable.
func BenchmarkNeverSeen(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, env := bigBox(b, n), newEnv(b)
			env.Fsync = true
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				m := x.open(env)
				v, err := m.NewView(ctx, false, nil)
				must(b, err)
				_, err = v.TellModSeq(ctx)
				must(b, err)
				v.Close()
				m.Close()
				b.StopTimer()
				_ = os.Remove(x.file("dovecot-uidlist"))
				_ = os.Remove(x.file("maildird-history"))
				b.StartTimer()
			}
		})
	}
}

// BenchmarkArrivals is what the first SELECT does with the names of a folder after listing
// them in random order: it sorts and examines them, writes their records, and makes them
// rows.
func BenchmarkArrivals(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newBox(b).open(newEnv(b))
			defer m.Close()
			var kept nameStore
			listed := make([]entry, n)
			for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
				listed[i] = kept.keep(entry{table.InCur, uint32(k + 1), fmt.Sprintf("17%08d.M%dP99V1I2.host.example,S=4321,W=4400:2,S", k, k)})
			}
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				a, err := m.prepareArrivals(nil, slices.Clone(listed))
				must(b, err)
				octets := 0
				for r := range recordsOf(1, a.fresh, nil) {
					octets += len(r.Base)
				}
				table.New().Fill(1, len(a.fresh), func(i int) (table.Place, string, uint32) { return a.fresh[i].where, a.fresh[i].name, a.fresh[i].inode }, a.octets, a.bases)
				if octets != a.octets || len(a.fresh) != n {
					b.Fatal(octets, len(a.fresh))
				}
			}
		})
	}
}

// BenchmarkOpenHistory is BenchmarkOpen of a large folder, with its history and without: in
// the latter case it writes the history, as after the file was lost.
func BenchmarkOpenHistory(b *testing.B) {
	x, env := bigBox(b, 100_000), newEnv(b)
	open := func(m *Mailbox) {
		v, err := m.NewView(ctx, false, nil)
		must(b, err)
		v.Close()
		m.Close()
	}
	open(x.open(env))
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			open(x.open(env))
		}
	})
	b.Run("lost", func(b *testing.B) {
		for b.Loop() {
			x.remove(history.Name)
			open(x.open(env))
		}
	})
}

// BenchmarkStore is STORE of one message of many, with everything that makes it durable,
// and without.
func BenchmarkStore(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		b.Run(fmt.Sprintf("fsync=%v", fsync), func(b *testing.B) {
			x, env := bigBox(b, 10_000), newEnv(b)
			env.Fsync = fsync
			m := x.open(env)
			defer m.Close()
			v, err := m.NewView(ctx, false, nil)
			must(b, err)
			defer v.Close()
			i := 0
			for b.Loop() {
				_, err := v.Store(ctx, []uint32{5000}, []Op{Add, Remove}[i%2], filename.Flagged, nil)
				must(b, err)
				i++
			}
		})
	}
}

// BenchmarkOneChange is a look after another program changed one flag.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := bigBox(b, n)
			m := x.open(newEnv(b))
			defer m.Close()
			c := &client{t: b}
			v, err := m.NewView(ctx, false, nil)
			must(b, err)
			c.v = v
			defer v.Close()
			base := "1700000001.M1P99V1I2.host.example,S=4321,W=4400"
			names := []string{"cur/" + filename.WithFlags(base, filename.Seen), "cur/" + filename.WithFlags(base, filename.Flagged)}
			i := 0
			for b.Loop() {
				x.rename(names[i%2], names[1-i%2])
				i++
				must(b, v.Poll(ctx))
				got := 0
				v.Updates(0, func(Update) { got++ })
				if got != 1 {
					b.Fatalf("told %d changes", got)
				}
			}
		})
	}
}

// BenchmarkFlags is FETCH 1:* (FLAGS) without writing the responses.
func BenchmarkFlags(b *testing.B) {
	m := bigBox(b, 10_000).open(newEnv(b))
	defer m.Close()
	v, err := m.NewView(ctx, false, nil)
	must(b, err)
	defer v.Close()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range v.Messages([]Range{{1, ^uint32(0)}}, true) {
			n++
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}
