package backup

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dotlock"
)

// slice bounds how long locks are held at a time: mail servers wait for them.
// The rest of the 50 ms is for what cannot be cut short, such as a write to
// disk.
const slice = 25 * time.Millisecond

// hold is the locks of some folders, held together.
type hold struct {
	locker  *dotlock.Locker
	folders []*opened
	longest *time.Duration

	locks []*dotlock.Lock
	none  bool // no lock can be had here: the folders are read-only or abandoned
	since time.Time
	// robbed: they were held, and somebody else got one when it was his turn.
	robbed bool
}

const (
	lockName = "dovecot-uidlist.lock"
	// alone is how long one folder's lock is waited for, and among when others
	// are held meanwhile.
	alone, among = 5 * time.Second, 3 * time.Millisecond
)

// acquire takes all the locks, or none and ErrLocked. Where no lock file can
// be made, there is none to take.
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

// tick gives others a turn when the slice is over. What they do meanwhile shows
// in the directories' times.
func (h *hold) tick(ctx context.Context) error {
	if h == nil || !h.locked() || time.Since(h.since) < slice {
		return nil
	}
	h.release()
	time.Sleep(time.Millisecond) // waiters look again within some milliseconds
	err := h.acquire(ctx)
	h.robbed = errors.Is(err, dotlock.ErrLocked)
	return ignoreLocked(err)
}

func (h *hold) release() {
	if !h.locked() {
		return
	}
	for _, l := range h.locks {
		// A lock that somebody took away is no harm: nothing is believed here
		// because of it.
		_ = l.Release()
	}
	h.locks = h.locks[:0]
	*h.longest = max(*h.longest, time.Since(h.since))
}
