package watch

import (
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// barrierPatience bounds the wait for the barrier's own event: a watcher that
// lags by more is as good as one that lost events, and the caller goes on.
const barrierPatience = 50 * time.Millisecond

// barrier is a nameless file that is watched like a directory. The kernel
// queues events in the order of the changes, so when the event of a write to
// it has come, all earlier ones have.
type barrier struct {
	mu   sync.Mutex // one wait at a time
	file *os.File
	path string
	came chan struct{} // capacity 1
}

func newBarrier(fs *fsnotify.Watcher) *barrier {
	fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	b := &barrier{file: os.NewFile(uintptr(fd), "barrier"), path: "/proc/self/fd/" + strconv.Itoa(fd), came: make(chan struct{}, 1)}
	if err := fs.Add(b.path); err != nil {
		_ = b.file.Close()
		return nil
	}
	return b
}

// Barrier waits until the callbacks of all events that happened before the
// call have returned, as far as that takes no longer than 50 ms.
func (w *Watcher) Barrier(ctx context.Context) {
	if w.fs == nil || w.barrier == nil {
		return
	}
	b := w.barrier
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.came: // late, from a wait that was given up
	default:
	}
	if _, err := b.file.WriteAt([]byte{0}, 0); err != nil {
		return
	}
	t := time.NewTimer(barrierPatience)
	defer t.Stop()
	select {
	case <-b.came:
	case <-t.C:
	case <-ctx.Done():
	case <-w.done:
	}
}

// arrived notes the barrier's event; false if the event is not its.
func (b *barrier) arrived(ev fsnotify.Event) bool {
	if b == nil || ev.Name != b.path {
		return false
	}
	select {
	case b.came <- struct{}{}:
	default:
	}
	return true
}
