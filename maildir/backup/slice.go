package backup

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dotlock"
)

// slice limits how long locks are held at once, because mail servers wait for them. Only an
// operation that cannot be interrupted, such as a write to a slow disk, takes longer.
const slice = 25 * time.Millisecond

// hold is the locks of some folders, which are held together.
type hold struct {
	locker  *dotlock.Locker
	folders []*opened
	longest *time.Duration

	locks []*dotlock.Lock
	none  bool // no lock can be had here: the folders are read-only or abandoned
	since time.Time
	// robbed means that they were held, and another program got one of them, or removed one of
	// the folders, when they were released for it.
	robbed bool
}

const (
	lockName = "dovecot-uidlist.lock"
	// alone is how long to wait for the lock if only one folder is locked, and among if
	// others are held at the same time.
	alone, among = 5 * time.Second, 3 * time.Millisecond
)

// acquire acquires all the locks, or none and returns ErrLocked. A folder in which no lock
// file can be created is left unlocked.
func (h *hold) acquire(ctx context.Context) error {
	if h.none {
		return nil
	}
	for i, o := range h.folders {
		if !o.f.mail {
			continue
		}
		wait := alone
		if i > 0 || len(h.folders) > 1 {
			wait = among
		}
		lock, err := h.locker.Acquire(ctx, o.src, lockName, dotlock.Options{Timeout: wait, Watch: []string{"dovecot-uidlist"}})
		if unwritable(err) {
			continue
		}
		if err != nil {
			h.release()
			h.none = errors.Is(err, dotlock.ErrLocked)
			return err
		}
		if len(h.locks) == 0 {
			h.since = time.Now()
		}
		h.locks = append(h.locks, lock)
	}
	return nil
}

func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

func (h *hold) locked() bool { return len(h.locks) > 0 }

// tick gives other programs a turn when the slice is over. What they do meanwhile shows in
// the directories' times.
func (h *hold) tick(ctx context.Context) error {
	if h == nil || !h.locked() || time.Since(h.since) < slice {
		return nil
	}
	h.release()
	time.Sleep(time.Millisecond) // waiters try again within a few milliseconds
	err := h.acquire(ctx)
	h.robbed = errors.Is(err, dotlock.ErrLocked) || errors.Is(err, fs.ErrNotExist)
	return ignoreGone(ignoreLocked(err))
}

func (h *hold) release() {
	if !h.locked() {
		return
	}
	for _, l := range h.locks {
		// It does no harm if somebody removed the lock: nothing here relies on it.
		_ = l.Release()
	}
	h.locks = h.locks[:0]
	*h.longest = max(*h.longest, time.Since(h.since))
}
