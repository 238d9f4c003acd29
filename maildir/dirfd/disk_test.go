package dirfd

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskStandsStill: while a disk does not respond, a limited number of calls waits for it in
// the kernel. What begins something fails, first after a while and then at once, what finishes
// something waits, and another disk is not affected. When the disk responds, all is as before.
func TestDiskStandsStill(t *testing.T) {
	path := t.TempDir()
	must(t, os.WriteFile(filepath.Join(path, "file"), []byte("text"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		open := func(path string) *Dir {
			d, err := Open(path)
			must(t, err)
			d.disk = newDisk(d.disk.dev) // its channel belongs to this test
			return d
		}
		d, other := open(path), open("/proc")
		defer d.Close()
		defer other.Close()
		file, err := d.Open("file")
		must(t, err)
		defer file.Close()
		var reader Reader
		must(t, d.OpenReader(&reader, "file"))
		defer reader.Close()

		end := make(chan struct{})
		var wg sync.WaitGroup
		for range mostInside {
			wg.Go(func() { must(t, d.self("wait", func(int) error { <-end; return nil })) })
		}
		synctest.Wait()
		var renamed atomic.Bool
		wg.Go(func() {
			must(t, d.Rename("file", d, "renamed"))
			renamed.Store(true)
		})
		start := time.Now()
		for i, begin := range []func() error{
			func() error { _, err := d.Lstat("file"); return err },
			func() error { _, err := d.OpenDir("file"); return err },
			func() error { return d.List(func([]byte, Kind, uint64) bool { return true }) },
			func() error { _, err := file.Read(make([]byte, 1)); return err },
			func() error { _, err := reader.ReadAt(make([]byte, 1), 0); return err },
		} {
			if err := begin(); !errors.Is(err, ErrNoAnswer) {
				t.Errorf("call %d: %v", i, err)
			}
			if took := time.Since(start); took != Patience {
				t.Errorf("call %d failed after %s", i, took)
			}
		}
		if _, err := other.Lstat("self"); err != nil || other.Stuck() || !d.Stuck() || renamed.Load() {
			t.Errorf("the other disk: %v, stuck %t, the first %t, renamed %t", err, other.Stuck(), d.Stuck(), renamed.Load())
		}

		close(end)
		wg.Wait()
		if _, err := d.Lstat("renamed"); err != nil || d.Stuck() {
			t.Errorf("after it: %v, stuck %t", err, d.Stuck())
		}
		if k := d.disk; k.inside != 0 || len(k.free) != 0 {
			t.Errorf("%d calls are left, %d places", k.inside, len(k.free))
		}
	})
}

// TestLocksAreFree: a rename that waits for a place keeps no directory from being closed, and so
// stops nobody who has a place. What the path of a directory on such a disk leads to, which may be
// elsewhere by now, is known nevertheless.
func TestLocksAreFree(t *testing.T) {
	from, err := Open(t.TempDir())
	must(t, err)
	defer from.Close()
	to, err := Open(t.TempDir())
	must(t, err)
	defer to.Close()
	must(t, from.Mkdir("directory"))
	synctest.Test(t, func(t *testing.T) {
		k := newDisk(1)
		from.disk, to.disk = k, k
		for range mostInside {
			k.Finish()
		}
		var wg sync.WaitGroup
		wg.Go(func() { must(t, from.Rename("directory", to, "renamed")) })
		synctest.Wait()
		for name, d := range map[string]*Dir{"old": from, "new": to} {
			if !d.mu.TryLock() {
				t.Errorf("the %s directory is locked", name)
				continue
			}
			d.mu.Unlock()
		}
		start := time.Now()
		if st, err := to.StatPath(); err != nil || st.Ino == 0 || time.Since(start) != 0 {
			t.Errorf("the path: %+v, %v after %s", st, err, time.Since(start))
		}
		for range mostInside {
			k.Leave()
		}
		wg.Wait()
	})
	if _, err := to.Lstat("renamed"); err != nil {
		t.Error(err)
	}
}

// TestPlacesAreKept: however calls come, wait, give up and return, no more than the limit are in
// progress, and all places are free in the end.
func TestPlacesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDisk(1)
		var inside, refused atomic.Int64
		var wg sync.WaitGroup
		for range 4 * mostInside {
			wg.Go(func() {
				for range 30 {
					if rand.IntN(2) == 0 {
						k.Finish()
					} else if k.Begin() != nil {
						refused.Add(1)
						time.Sleep(rand.N(time.Second))
						continue
					}
					if n := inside.Add(1); n > mostInside {
						t.Errorf("%d calls are in progress", n)
					}
					time.Sleep(rand.N(10 * time.Second))
					if time.Now().Minute()%2 == 0 { // the disk stands still for a minute
						time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
					}
					inside.Add(-1)
					k.Leave()
				}
			})
		}
		wg.Wait()
		if k.inside != 0 || k.waiting != 0 || len(k.free) != 0 || refused.Load() == 0 {
			t.Errorf("%d calls are left, %d wait, %d places, %d were refused", k.inside, k.waiting, len(k.free), refused.Load())
		}
	})
}

// TestManyDisksStandStill: however many disks do not respond, the calls that wait for them are
// bounded, and one that responds is served; when all respond, so is everybody who waited.
func TestManyDisksStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const disks = 400
		before := inAll.Load()
		var inside, most atomic.Int64
		var wg sync.WaitGroup
		end := make(chan struct{})
		for range disks {
			k := newDisk(1)
			for range mostInside + 8 {
				wg.Go(func() {
					k.Finish()
					most.Store(max(most.Load(), inside.Add(1))) // one at a time is enough
					<-end
					inside.Add(-1)
					k.Leave()
				})
			}
		}
		synctest.Wait()
		if n := inside.Load(); n > mostInAll+disks || n < mostInAll {
			t.Errorf("%d calls are in progress, want about %d", n, mostInAll)
		}
		intact, start := newDisk(2), time.Now()
		var served sync.WaitGroup
		for range 1000 {
			served.Go(func() {
				must(t, intact.Begin())
				time.Sleep(time.Millisecond)
				intact.Leave()
			})
		}
		served.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the disk that responds served 1000 calls in %s", took)
		}
		close(end)
		wg.Wait()
		if n := inAll.Load(); n != before || most.Load() > mostInAll+disks {
			t.Errorf("%d calls are left, %d were in progress", n-before, most.Load())
		}
	})
}

// TestPlacesGrowAgain: those who wait for a disk get the places that other disks give back, as
// soon as a call of theirs returns.
func TestPlacesGrowAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inAll.Add(mostInAll) // by others
		k := newDisk(1)
		var inside atomic.Int64
		var wg sync.WaitGroup
		for range mostInside {
			wg.Go(func() {
				k.Finish()
				inside.Add(1)
				time.Sleep(time.Second)
				k.Leave()
			})
		}
		synctest.Wait()
		if n := inside.Load(); n != 1 {
			t.Errorf("%d calls are in progress, want 1", n)
		}
		inAll.Add(-mostInAll)
		time.Sleep(1500 * time.Millisecond)
		if n := inside.Load(); n != mostInside {
			t.Errorf("%d calls began, want %d", n, mostInside)
		}
		wg.Wait()
	})
}

// TestPlacesGrowBesideHanging: those who wait for a disk get the places that other disks give back
// although no call of theirs returns, when somebody asks for another place or loses patience.
func TestPlacesGrowBesideHanging(t *testing.T) {
	for name, ask := range map[string]func(*Places) error{
		"asking": func(k *Places) error {
			inAll.Add(-mostInAll)
			return k.Begin()
		},
		"waiting": func(k *Places) error {
			time.AfterFunc(time.Second, func() { inAll.Add(-mostInAll) })
			return k.Begin()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inAll.Add(mostInAll) // by others
				k := newDisk(1)
				must(t, k.Begin()) // hangs
				var finished atomic.Int64
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						k.Finish()
						finished.Add(1)
					})
				}
				synctest.Wait()
				if n := finished.Load(); n != 0 {
					t.Errorf("%d calls began beside those of others", n)
				}
				must(t, ask(k))
				synctest.Wait()
				if n := finished.Load(); n != 5 {
					t.Errorf("%d calls began, want 5", n)
				}
				for k.inside > 0 {
					k.Leave()
				}
				wg.Wait()
			})
		})
	}
}

// BenchmarkPlaces measures what taking and giving back a place costs.
func BenchmarkPlaces(b *testing.B) {
	k := newDisk(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = k.Begin()
			k.Leave()
		}
	})
}

// TestSlowDisk: as long as calls return, nobody is refused, however long it takes.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDisk(1)
		var wg sync.WaitGroup
		start := time.Now()
		for range 5 * mostInside {
			wg.Go(func() {
				must(t, k.Begin())
				time.Sleep(rand.N(Patience))
				k.Leave()
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 2*Patience {
			t.Errorf("it took only %s", took)
		}
	})
}

// TestDiskOfPath: what a path leads to through symbolic links and mount points is known without
// asking its file system.
func TestDiskOfPath(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/proc", filepath.Join(dir, "absolute")))
	must(t, os.Symlink("absolute/self/..", filepath.Join(dir, "relative")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	of := func(path string) *Places {
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		return diskOf(uint64(st.Dev))
	}
	for path, want := range map[string]*Places{
		"/":                                   of("/"),
		"/proc":                               of("/proc"),
		"//proc/./self":                       of("/proc"),
		"/proc/..":                            of("/"),
		filepath.Join(dir, "absolute"):        of("/proc"),
		filepath.Join(dir, "relative", "fs"):  of("/proc"),
		filepath.Join(dir, "loop"):            of(dir),
		filepath.Join(dir, "missing", "file"): of(dir),
	} {
		got, err := diskAt(path)
		must(t, err)
		if got != want {
			t.Errorf("%s is on the disk %#x, want %#x", path, got.dev, want.dev)
		}
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts(`21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /srv/with\040space rw - nfs4 server:/x rw
23 21 0:21 / /home/a rw - autofs x rw
24 23 0:22 / /home/a rw - nfs4 server:/y rw
damaged
`)
	for path, dev := range map[string]uint64{
		"/": unix.Mkdev(254, 0), "/srv": unix.Mkdev(254, 0), "/srv/with space/mail": 20, "/home/a/Maildir": 22, "/home/ab": unix.Mkdev(254, 0),
	} {
		if k := got.of(path); k.dev != dev {
			t.Errorf("%s: %#x, want %#x", path, k.dev, dev)
		}
	}
	if k := parseMounts("").of("/srv"); k.dev != 0 {
		t.Errorf("without /proc: %#x", k.dev)
	}
}
