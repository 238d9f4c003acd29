package maildir

import (
	"errors"
	"syscall"
	"time"

	"maildird/maildir/dirfd"
)

// rootInterval is how often it is checked that the path of an account leads to
// its Maildir, if no event tells of it.
const rootInterval = time.Second

// Moved tells whether the account's path leads to another Maildir by now, or
// nowhere: it was moved away, removed, or replaced by a copy from a backup. What
// is written from then on goes where nobody looks: who has the account must give
// it back and open it anew. It looks once a second.
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

// inPlace is Moved at this moment. A path that cannot be looked at counts as
// what it was.
func (a *Account) inPlace() bool {
	same, _, err := a.look()
	return same || err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR)
}

// current tells whether who opens the account may have this one: its path leads to
// the same directory, which is its owner's (nil: anybody's). A path that cannot be
// looked at is opened anew, for the error.
func (a *Account) current(o *Owner) bool {
	same, uid, err := a.look()
	return err == nil && same && (o == nil || uid == o.UID)
}

// look tells whether the account's path leads to its Maildir, and whose what it
// leads to is.
func (a *Account) look() (same bool, uid int, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(a.path, &st); err != nil {
		return false, 0, err
	}
	return dirfd.ID{Dev: uint64(st.Dev), Ino: st.Ino} == a.id, int(st.Uid), nil
}
