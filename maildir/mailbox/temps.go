package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"maildird/maildir/delivery"
)

// newTemp creates a file in tmp/. If tmp/ was removed, the mailbox ends: opening the folder
// again creates it.
func (m *Mailbox) newTemp() (*delivery.Temp, error) {
	temp, err := delivery.NewTemp(m.dirs.Dirs, m.env.Delivery)
	if errors.Is(err, fs.ErrNotExist) {
		m.markReplaced()
		err = fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	return temp, err
}

// cleanEvery is how often tmp/ of a mailbox in use is checked for old files.
const cleanEvery = time.Hour

// cleanTemp removes what crashed programs left in tmp/ long ago.
func (m *Mailbox) cleanTemp() {
	now := m.env.Now()
	if !m.tempChecks.due(now, cleanEvery) {
		return
	}
	switch n, err := delivery.CleanTemp(m.dirs.Tmp, now); {
	case errors.Is(m.endIfReplaced(err), ErrReplaced): // it was removed together with the folder
	case err != nil:
		m.env.Log.Warn("cannot remove old files in tmp/", "mailbox", m.Path(), "error", err)
	case n > 0:
		m.env.Log.Info("removed files that crashed programs left in tmp/ more than 36 hours ago", "mailbox", m.Path(), "files", n)
	}
}
