package delivery

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"maildird/maildir/dirfd"
)

// disk is a directory as a power failure would leave it: durable is what was there when the
// last completed fsync started.
type disk struct {
	mu             sync.Mutex
	there, durable map[int]bool
	syncs          int
}

func newDisk() *disk { return &disk{there: map[int]bool{}, durable: map[int]bool{}} }

func (d *disk) put(name int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.there[name] = true
}

func (d *disk) fsync(pause time.Duration) {
	d.mu.Lock()
	var began []int
	for name := range d.there {
		began = append(began, name)
	}
	d.syncs++
	d.mu.Unlock()
	time.Sleep(pause)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range began {
		d.durable[name] = true
	}
}

func (d *disk) has(name int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable[name]
}

func openTestDir(t *testing.T) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// No caller returns before an fsync has completed that started after its name was there.
func TestGroupSyncCovers(t *testing.T) {
	dirs := []*dirfd.Dir{openTestDir(t), openTestDir(t)}
	synctest.Test(t, func(t *testing.T) {
		disks := map[*dirfd.Dir]*disk{dirs[0]: newDisk(), dirs[1]: newDisk()}
		pause := func() time.Duration { return time.Duration(rand.IntN(5)) * time.Millisecond }
		g := &groupSync{fsync: func(d *dirfd.Dir) error { disks[d].fsync(pause()); return nil }}
		const clients, each = 32, 20
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range each {
					dir, name := dirs[rand.IntN(2)], c*each+i
					time.Sleep(pause())
					disks[dir].put(name)
					if err := g.sync(dir); err != nil {
						t.Error(err)
					}
					if !disks[dir].has(name) {
						t.Errorf("client %d was answered before message %d was durable", c, i)
					}
				}
			})
		}
		wg.Wait()
		if n := disks[dirs[0]].syncs + disks[dirs[1]].syncs; n >= clients*each {
			t.Errorf("%d fsyncs for %d messages: none was shared", n, clients*each)
		}
		if len(g.dirs) != 0 {
			t.Errorf("%d directories are kept", len(g.dirs))
		}
	})
}

// Callers that come while an fsync is running share the next one; an error of the running
// one is theirs too, but nobody's after that.
func TestGroupSyncRounds(t *testing.T) {
	dir := openTestDir(t)
	failure := errors.New("bad disk")
	for _, test := range []struct {
		name         string
		first        error
		syncs, wrong int
	}{
		{"good", nil, 2, 0},
		{"failed", failure, 1, 1 + 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, end := make(chan struct{}, 10), make(chan error)
				syncs := 0
				g := &groupSync{fsync: func(*dirfd.Dir) error {
					began <- struct{}{}
					return <-end
				}}
				results := make(chan error, 20)
				call := func() { results <- g.sync(dir) }
				finish := func(err error) {
					<-began
					syncs++
					end <- err
				}
				go call()
				synctest.Wait() // it runs
				for range 5 {
					go call()
				}
				synctest.Wait() // all five wait
				finish(test.first)
				synctest.Wait()
				for len(began) > 0 {
					finish(nil)
					synctest.Wait()
				}
				wrong := 0
				for range 1 + 5 {
					if err := <-results; err != nil {
						if !errors.Is(err, failure) {
							t.Error(err)
						}
						wrong++
					}
				}
				if syncs != test.syncs || wrong != test.wrong {
					t.Errorf("%d fsyncs and %d errors, want %d and %d", syncs, wrong, test.syncs, test.wrong)
				}
				go call()
				finish(nil)
				if err := <-results; err != nil {
					t.Errorf("after the error: %v", err)
				}
				if len(g.dirs) != 0 {
					t.Errorf("%d directories are kept", len(g.dirs))
				}
			})
		})
	}
}
