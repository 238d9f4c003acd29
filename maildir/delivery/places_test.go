package delivery

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"maildird/maildir/dirfd"
)

// TestFsyncsWait: of many deliveries into different folders, a limited number waits for the disk
// at the same time.
func TestFsyncsWait(t *testing.T) {
	var folders []*testFolder
	for range 3 * mostWaiting {
		folders = append(folders, newFolder(t))
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOptions()
		o.Fsync = true
		var waiting atomic.Int64
		end := make(chan struct{})
		o.syncs.fsync = func(d *dirfd.Dir) error {
			waiting.Add(1)
			<-end
			return d.Sync()
		}
		var wg sync.WaitGroup
		for _, f := range folders {
			s := NewSpool([]Target{f.target("A: b\n")}, false, o)
			fill(s, "text\n")
			wg.Go(func() {
				if err := s.Commit()[0]; err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := waiting.Load(); n != mostWaiting {
			t.Errorf("%d wait for the disk, want %d", n, mostWaiting)
		}
		close(end)
		wg.Wait()
	})
	for _, f := range folders {
		f.checkOne("A: b\ntext\n")
	}
}

// occupy begins n calls that wait for a disk until end is closed. It is called in a bubble.
func occupy(disk *places, d *dirfd.Dir, n int) (end chan struct{}) {
	end = make(chan struct{})
	for range n {
		go func() { _ = disk.with(d, func() error { <-end; return nil }) }()
	}
	synctest.Wait()
	return end
}

// TestStepsWait: each step of a delivery that may wait for the disk does so only when there is a
// place for it.
func TestStepsWait(t *testing.T) {
	f := newFolder(t)
	dirs := f.open()
	defer dirs.Close()
	synctest.Test(t, func(t *testing.T) {
		o := newOptions()
		o.Fsync = true
		var temp *Temp
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"create", func() (err error) { temp, err = NewTemp(dirs, o); return err }},
			{"write", func() (err error) { _, err = temp.Write([]byte("A: b\n")); return err }},
			{"fsync", func() (err error) { _, err = temp.Finish(time.Time{}); return err }},
			{"rename", func() (err error) { _, err = temp.Commit(dirs.New, ""); return err }},
			{"create another", func() (err error) { temp, err = NewTemp(dirs, o); return err }},
			{"remove", func() error { temp.Abort(); return nil }},
		} {
			end := occupy(&o.disk, dirs.Tmp, mostWaiting)
			done := make(chan error, 1)
			go func() { done <- step.do() }()
			synctest.Wait()
			if len(done) > 0 {
				t.Errorf("%s did not wait", step.name)
			}
			close(end)
			if err := <-done; err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			synctest.Wait()
		}
	})
	f.checkOne("A: b\n")
}

// TestDiskDoesNotAnswer: a delivery for which there is no place for long is refused before it has
// begun.
func TestDiskDoesNotAnswer(t *testing.T) {
	f := newFolder(t)
	dirs := f.open()
	defer dirs.Close()
	synctest.Test(t, func(t *testing.T) {
		o := newOptions()
		end := occupy(&o.disk, dirs.Tmp, mostWaiting)
		start := time.Now()
		if _, err := NewTemp(dirs, o); !errors.Is(err, dirfd.ErrNoAnswer) || time.Since(start) != dirfd.Patience {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		close(end)
	})
	f.checkEmpty("tmp", "new")
}

// TestOtherDiskDoesNotWait: a file system that stands still does not stop deliveries to another.
func TestOtherDiskDoesNotWait(t *testing.T) {
	dirs := newFolder(t).open()
	defer dirs.Close()
	other, err := dirfd.Open("/proc") // the nearest directory of another file system
	must(t, err)
	defer other.Close()
	synctest.Test(t, func(t *testing.T) {
		var p places
		end := occupy(&p, dirs.Tmp, mostWaiting+1)
		called := false
		must(t, p.with(other, func() error { called = true; return nil }))
		if !called {
			t.Error("the call was not made")
		}
		close(end)
	})
}
