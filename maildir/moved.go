package maildir

import (
	"errors"
	"syscall"
	"time"

	"maildird/maildir/dirfd"
)

// rootInterval is how often it is checked that the path of an account leads to its Maildir,
// since no event reports that.
const rootInterval = time.Second

// Moved reports whether the account's path now leads to a different Maildir, or nowhere,
// because it was moved away, removed, or replaced by a copy from a backup. Anything written
// after that goes where nobody looks: whoever has the account must release it and open it
// again. Moved checks once a second.
func (a *Account) Moved() bool {
	now := a.store.env.Now().UnixNano()
	last := a.looked.Load()
	if d := now - last; d > -int64(rootInterval) && d < int64(rootInterval) || !a.looked.CompareAndSwap(last, now) {
		return a.moved.Load()
	}
	moved := !a.inPlace()
	if was := a.moved.Swap(moved); moved && !was {
		a.store.env.Log.Warn("Maildir was moved away or replaced, ending its sessions", "root", a.path)
	}
	return moved
}

// Stuck reports whether the disk does not respond, so that using the account would fail with
// dirfd.ErrNoAnswer, or not return at all. The log says so once a minute.
func (a *Account) Stuck() bool {
	if !a.root.Stuck() {
		return false
	}
	a.store.tellStuck(a.path)
	return true
}

// stuckInterval is how often the log says that a disk does not respond.
const stuckInterval = time.Minute

func (s *Store) tellStuck(path string) {
	s.mu.Lock()
	now := s.env.Now()
	due := s.toldStuck.IsZero() || now.Sub(s.toldStuck).Abs() >= stuckInterval
	if due {
		s.toldStuck = now
	}
	s.mu.Unlock()
	if due {
		s.env.Log.Error("users of this disk are refused until it responds", "root", path, "error", dirfd.ErrNoAnswer, "more", "not logged again for a minute")
	}
}

// inPlace is Moved at this moment. If the path cannot be examined, it counts as unchanged.
func (a *Account) inPlace() bool {
	same, _, err := a.look()
	return same || err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR)
}

// current reports whether a caller that opens the account can have this one: its path leads
// to the same directory, and that belongs to the owner (nil: anybody). If the path cannot
// be examined, the account is opened again, for the error, unless the disk does not respond.
func (a *Account) current(o *Owner) (bool, error) {
	same, uid, err := a.look()
	if errors.Is(err, dirfd.ErrNoAnswer) {
		return false, err
	}
	return err == nil && same && (o == nil || uid == o.UID), nil
}

// look reports whether the account's path leads to its Maildir, and the owner of what it
// leads to.
func (a *Account) look() (same bool, uid int, err error) {
	st, err := a.root.StatPath()
	if err != nil {
		return false, 0, err
	}
	return st.ID() == a.id, int(st.UID), nil
}
