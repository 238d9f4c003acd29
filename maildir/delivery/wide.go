package delivery

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// spoolWide is the number of targets from which a delivery is wide: it keeps the
// directories of all of them open at once, and takes part in a wide for that.
const spoolWide = 64

// wide bounds how many targets the wide deliveries have between them, as they would
// take the descriptors that others need. Who comes first enters first. One that is over
// the bound by itself is alone. Zero is ready; safe for concurrent use.
type wide struct {
	turn sync.Mutex // held by the first of those who wait

	mu    sync.Mutex
	less  sync.Cond // open sank; its L is &mu
	open  int       // targets
	bound int       // 0: not known yet
}

// enter waits until there is room for so many targets. leave gives it back.
func (w *wide) enter(targets int) (leave func()) {
	w.turn.Lock()
	defer w.turn.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.less.L = &w.mu
	if w.bound == 0 {
		w.bound = wideBound()
	}
	for w.open > 0 && w.open+targets > w.bound {
		w.less.Wait()
	}
	w.open += targets
	return func() {
		w.mu.Lock()
		w.open -= targets
		w.mu.Unlock()
		w.less.Broadcast()
	}
}

// wideBound is for a fifth of the files that the program may have open: a target has some
// six, its directories and its file. Two messages of a thousand recipients each are within it
// with 65,536 files.
func wideBound() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 1
	}
	return int(max(1, min(files.Cur/32, math.MaxInt32)))
}
