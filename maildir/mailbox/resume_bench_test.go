package mailbox

import (
	"fmt"
	"maildird/maildir/dirfd"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reportCPU has the processor time of the process reported, which other programs
// on the machine do not change as much as the time that passes.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u unix.Rusage
		must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkResume is a SELECT of a folder that another process had open, and that
// nobody changed since.
func BenchmarkResume(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, env := bigBox(b, n), keeping(b, b.TempDir())
			x.settle()
			for range 2 {
				x.open(env).Close()
				time.Sleep(2 * dirfd.FineGrain)
			}
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				m := x.open(env)
				v, err := m.NewView(ctx, false, nil)
				must(b, err)
				v.FirstUnseen()
				v.Close()
				if m.snap.state == nil {
					b.Fatal("the folder was read anew")
				}
				m.Close()
			}
		})
	}
}
