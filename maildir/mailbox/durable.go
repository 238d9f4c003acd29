package mailbox

import (
	"errors"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/mailbox/table"
)

// touched notes that an operation added or removed names in new/ or cur/. m.sync is held.
func (m *Mailbox) touched(where table.Place) { m.unsynced[where] = true }

// syncTouched makes durable what touched noted, whichever operation it was: if only cur/
// were synced after a flag change, the flag would be lost together with an earlier move
// from new/ to cur/. It syncs cur/ first, so that a new name is durable before the old one
// is gone. m.sync is held.
func (m *Mailbox) syncTouched() error {
	if !m.env.Fsync {
		return nil
	}
	for _, where := range []table.Place{table.InCur, table.InNew} {
		if !m.unsynced[where] {
			continue
		}
		if err := m.in(where).Sync(); err != nil {
			return err
		}
		m.unsynced[where] = false
	}
	return nil
}

// sameFile reports whether two different names refer to one file, as is the case after a
// crash or during a rename by link and unlink.
func (m *Mailbox) sameFile(a, b entry) bool {
	if a.sameName(b) {
		return false
	}
	one, err := m.in(a.where).Lstat(a.name)
	if err != nil {
		return false
	}
	two, err := m.in(b.where).Lstat(b.name)
	return err == nil && one.ID() == two.ID()
}

// cleanEvery is how often tmp/ of a mailbox in use is checked for old files.
const cleanEvery = time.Hour

// cleanTemp removes what crashed programs left in tmp/ long ago.
func (m *Mailbox) cleanTemp() {
	now := m.env.Now()
	m.mu.Lock()
	due := now.Sub(m.cleaned).Abs() >= cleanEvery
	if due {
		m.cleaned = now
	}
	m.mu.Unlock()
	if !due {
		return
	}
	switch n, err := delivery.CleanTemp(m.dirs.Tmp, now); {
	case errors.Is(m.asReplaced(err), ErrReplaced): // it was removed together with the folder
	case err != nil:
		m.env.Log.Warn("cannot remove old files in tmp/", "mailbox", m.Path(), "error", err)
	case n > 0:
		m.env.Log.Info("removed files that crashed programs left in tmp/ more than 36 hours ago", "mailbox", m.Path(), "files", n)
	}
}
