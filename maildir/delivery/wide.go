package delivery

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// spoolWide is the number of targets above which a delivery is wide: it keeps the
// directories of all of them open at once, and has to enter a wide for that.
const spoolWide = 64

// wide limits the total number of targets of wide deliveries, which would otherwise use up
// the file descriptors that others need. Deliveries enter in the order in which they come.
// One that exceeds the limit by itself runs alone. The zero value is ready for use. A wide
// is safe for concurrent use.
type wide struct {
	turn sync.Mutex // held by the first of those that wait

	mu    sync.Mutex
	less  sync.Cond // open has decreased; its L is &mu
	open  int       // targets
	bound int       // 0: not determined yet
}

// enter waits until there is room for that many targets. leave releases it.
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

// wideBound allows for a fifth of the files that the program may have open: a target needs
// about six, for its directories and its file. With a limit of 65,536 files, two messages
// with a thousand recipients each fit.
func wideBound() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 1
	}
	return int(max(1, min(files.Cur/32, math.MaxInt32)))
}
