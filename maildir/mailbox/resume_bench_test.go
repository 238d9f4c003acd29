package mailbox

import (
	"fmt"
	"maildird/maildir/dirfd"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reportCPU reports the CPU time of the process, which other programs on the machine affect
// less than the elapsed time.
func reportCPU(b *testing.B) func() {
	start := usedCPU(b)
	return func() { b.ReportMetric(float64(usedCPU(b)-start)/float64(b.N), "cpu-ns/op") }
}

func usedCPU(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkResume is a SELECT of a folder that another process had open, and that nobody
// has changed since.
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

// BenchmarkResumeChanged is a SELECT of a folder that another process had open, and in
// which somebody has renamed one file since; "listed" is the time that the file system
// alone needs for a listing.
func BenchmarkResumeChanged(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		x, env := bigBox(b, n), keeping(b, b.TempDir())
		base := fmt.Sprintf("cur/17%08d.M%dP99V1I2.host.example,S=4321,W=4400:2,", n/2, n/2)
		flags := [2]string{"S", "FS"}
		x.settle()
		x.open(env).Close()
		for _, wait := range []time.Duration{0, 2 * dirfd.FineGrain} {
			b.Run(fmt.Sprintf("%d/%s later", n, wait), func(b *testing.B) {
				b.ReportAllocs()
				var cpu time.Duration // while the timer runs
				defer func() { b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op") }()
				for b.Loop() {
					b.StopTimer()
					x.rename(base+flags[0], base+flags[1])
					flags[0], flags[1] = flags[1], flags[0]
					time.Sleep(wait)
					cpu -= usedCPU(b)
					b.StartTimer()
					m := x.open(env)
					v, err := m.NewView(ctx, false, nil)
					must(b, err)
					v.FirstUnseen()
					b.StopTimer()
					cpu += usedCPU(b)
					v.Close()
					if m.snap.state == nil {
						b.Fatal("the folder was read anew")
					}
					m.Close()
					b.StartTimer()
				}
			})
		}
		b.Run(fmt.Sprintf("%d/listed", n), func(b *testing.B) {
			dir, err := dirfd.Open(x.file("cur"))
			must(b, err)
			defer dir.Close()
			defer reportCPU(b)()
			for b.Loop() {
				must(b, dir.List(func([]byte, dirfd.Kind, uint64) bool { return true }))
			}
		})
	}
}
