package delivery

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWideBound: all deliveries that want to enter do so, together within the bound, or
// alone.
func TestWideBound(t *testing.T) {
	const bound = 10
	w := &wide{bound: bound}
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 50 {
				n := rand.IntN(2*bound) + 1
				leave := w.enter(n)
				now := inside.Add(int64(n))
				if now > bound && now != int64(n) {
					t.Errorf("%d are open, of a delivery of %d", now, n)
				}
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				inside.Add(-int64(n))
				leave()
			}
		})
	}
	wg.Wait()
	if inside.Load() != 0 || w.open != 0 || most.Load() <= bound {
		t.Errorf("%d are open at the end (%d), %d at most", inside.Load(), w.open, most.Load())
	}
}

// TestWideTogether: deliveries within the bound do not wait for one another.
func TestWideTogether(t *testing.T) {
	w := &wide{bound: 10}
	var leave []func()
	for range 2 {
		leave = append(leave, w.enter(5))
	}
	third := make(chan func())
	go func() { third <- w.enter(11) }()
	leave[0]()
	select {
	case <-third:
		t.Fatal("a third one came in")
	default:
	}
	leave[1]()
	(<-third)()
}

// TestWideBoundOfProcess: the bound depends on how many files the process may open.
func TestWideBoundOfProcess(t *testing.T) {
	if n := wideBound(); n < 1 {
		t.Error(n)
	}
	var w wide
	w.enter(1 << 20)() // alone, whatever the bound
}
