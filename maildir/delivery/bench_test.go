package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// benchDir returns a new directory on the disk to be measured: TMPDIR may be a RAM disk.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "delivery")
	must(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// BenchmarkDurable compares a delivery with the bare system calls that it needs: create and
// write in tmp/, fsync, rename, fsync of new/.
func BenchmarkDurable(b *testing.B) {
	body := []byte(strings.Repeat(strings.Repeat("x", 63)+"\n", 64))
	for _, conns := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("bare/%d", conns), func(b *testing.B) { benchBare(b, conns, body) })
		b.Run(fmt.Sprintf("spool/%d", conns), func(b *testing.B) { benchSpool(b, conns, body) })
	}
}

func split(b *testing.B, conns int, f func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range conns {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				f(i)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchBare(b *testing.B, conns int, body []byte) {
	root := benchDir(b)
	for _, d := range []string{"tmp", "new", "cur"} {
		must(b, os.Mkdir(filepath.Join(root, d), 0o700))
	}
	tmp, err := unix.Open(filepath.Join(root, "tmp"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(b, err)
	dir, err := unix.Open(filepath.Join(root, "new"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(b, err)
	defer unix.Close(tmp)
	defer unix.Close(dir)
	split(b, conns, func(i int64) {
		name := fmt.Sprintf("1700000000.M%dP1.host", i)
		fd, err := unix.Openat(tmp, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		must(b, err)
		_, err = unix.Write(fd, body)
		must(b, err)
		must(b, unix.Fsync(fd))
		must(b, unix.Close(fd))
		must(b, unix.Renameat(tmp, name, dir, name))
		must(b, unix.Fsync(dir))
	})
}

func benchSpool(b *testing.B, conns int, body []byte) {
	f := newFolder(b)
	o := &Options{Host: "host.test", PID: 1, Fsync: true}
	split(b, conns, func(int64) {
		s := NewSpool([]Target{f.target("Return-Path: <>\n")}, false, o)
		_, err := s.Write(body)
		must(b, err)
		must(b, s.Commit()[0])
	})
}

func BenchmarkCRLFWriter(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 800))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w := NewCRLFWriter(discard{})
		_, _ = w.Write(text)
		_ = w.Close()
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
