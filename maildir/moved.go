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

// inPlace is Moved at this moment. If the path cannot be examined, it counts as unchanged.
func (a *Account) inPlace() bool {
	same, _, err := a.look()
	return same || err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR)
}

// current reports whether a caller that opens the account can have this one: its path leads
// to the same directory, and that belongs to the owner (nil: anybody). If the path cannot
// be examined, the account is opened again, for the error.
func (a *Account) current(o *Owner) bool {
	same, uid, err := a.look()
	return err == nil && same && (o == nil || uid == o.UID)
}

// look reports whether the account's path leads to its Maildir, and the owner of what it
// leads to.
func (a *Account) look() (same bool, uid int, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(a.path, &st); err != nil {
		return false, 0, err
	}
	return dirfd.ID{Dev: uint64(st.Dev), Ino: st.Ino} == a.id, int(st.Uid), nil
}
