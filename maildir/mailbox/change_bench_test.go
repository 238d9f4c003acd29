package mailbox

import (
	"fmt"
	"os"
	"testing"

	"maildird/maildir/filename"
)

// news is what a session does after each command.
func news(b *testing.B, v *View) {
	must(b, v.Poll(ctx))
	v.Updates(0, func(Update) {})
}

// BenchmarkChange measures commands on many messages of a folder, durable, with the look at
// the folder that follows each.
func BenchmarkChange(b *testing.B) {
	const n, some = 10_000, 1000
	view := func(m *Mailbox) *View {
		v, err := m.NewView(ctx, false, nil)
		must(b, err)
		return v
	}
	uids := func(v *View, n int) (uids []uint32) {
		for m := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
			if uids = append(uids, m.UID); len(uids) == n {
				break
			}
		}
		return uids
	}
	run := func(name string, do func(b *testing.B, x *box, from, to *Mailbox, v *View)) {
		b.Run(name, func(b *testing.B) {
			x, env := bigBox(b, n), newEnv(b)
			env.Fsync = true
			from, to := x.open(env), newBox(b).open(env)
			defer from.Close()
			defer to.Close()
			v := view(from)
			defer v.Close()
			b.ReportAllocs()
			do(b, x, from, to, v)
		})
	}
	run("store/10000", func(b *testing.B, _ *box, _, _ *Mailbox, v *View) {
		all := uids(v, n)
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			_, err := v.Store(ctx, all, []Op{Add, Remove}[i%2], filename.Flagged, nil)
			must(b, err)
			news(b, v)
		}
	})
	run("move/1000", func(b *testing.B, _ *box, from, to *Mailbox, v *View) {
		back := view(to)
		defer back.Close()
		defer reportCPU(b)()
		for b.Loop() { // there and back
			_, err := v.Move(ctx, uids(v, some), to)
			must(b, err)
			news(b, v)
			news(b, back)
			_, err = back.Move(ctx, uids(back, some), from)
			must(b, err)
			news(b, back)
			news(b, v)
		}
	})
	run("copy/1000", func(b *testing.B, _ *box, _, to *Mailbox, v *View) {
		copies := view(to)
		defer copies.Close()
		some := uids(v, some)
		defer reportCPU(b)()
		for b.Loop() { // and removal of the copies
			_, err := v.Copy(ctx, some, to)
			must(b, err)
			news(b, v)
			news(b, copies)
			_, err = copies.Remove(ctx, uids(copies, n)...)
			must(b, err)
			news(b, copies)
		}
	})
	run("expunge/1000", func(b *testing.B, x *box, _, _ *Mailbox, v *View) {
		files := 0
		defer reportCPU(b)()
		for b.Loop() { // and arrival of as many
			for range some {
				files++
				must(b, os.WriteFile(x.file(fmt.Sprintf("cur/18%08d.M1P99V1I3.host.example,S=0,W=0:2,T", files)), nil, 0o600))
			}
			news(b, v)
			gone, err := v.Expunge(ctx, nil)
			must(b, err)
			if len(gone) != some {
				b.Fatal("expunged", len(gone))
			}
			news(b, v)
		}
	})
}
