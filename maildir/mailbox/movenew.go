package mailbox

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// newMail is the mail in new/, and when it is moved to cur/. Mailbox.mu guards it.
type newMail struct {
	rows map[uint32]struct{} // whose file is in new/
	from time.Time           // when it is time to move them to cur/
	all  bool                // a session selected the mailbox: move even those that just arrived
}

// newMailToMove reports whether new/ contains mail that a session has claimed and that is
// due to be moved.
func (m *Mailbox) newMailToMove() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.newMail.rows) > 0 && !m.unwritable && m.claimed() && (m.newMail.all || !m.env.Now().Before(m.newMail.from))
}

// claimed reports whether a view that may change the mailbox is open. m.mu is held.
func (m *Mailbox) claimed() bool {
	for v := range m.views {
		if !v.readOnly {
			return true
		}
	}
	return false
}

// newPatience is how long mail stays in new/ at least, to the precision of a second that
// save dates have. Programs that deliver may use the file again by the name that they gave
// it: notmuch insert adds it to its database, offlineimap renames it to set flags, and both
// fail if it is not there.
const newPatience = 2 * time.Second

// moveNew moves the mail in new/ to cur/ once a session has claimed it, because it is no
// longer new. Mail that arrived just now, while sessions are watching, is moved later, and
// served from new/ in the meantime. SELECT moves all mail, as in Dovecot. The uidlist's
// lock is held.
func (m *Mailbox) moveNew(lock *dotlock.Lock) error {
	later, stuck := false, false
	defer func() { m.moveLater(later, stuck) }()
	defer m.events.expect()()
	m.mu.Lock()
	var rows []uint32
	atOnce := m.newMail.all
	m.newMail.all = false
	if m.claimed() {
		rows = sortedKeys(m.newMail.rows)
	}
	m.mu.Unlock()
	for i, n := range rows {
		if i%1024 == 1023 {
			m.touch(lock)
		}
		m.mu.RLock()
		from, flags := entry{where: table.InNew, name: m.t.FileName(n)}, m.t.Row(n).Flags
		m.mu.RUnlock()
		m.dateRow(n)
		if !atOnce && m.justCame(n) {
			later = true
			continue
		}
		to := entry{where: table.InCur, name: from.name}
		if filename.Base(to.name) == to.name {
			to.name = filename.WithFlags(to.name, flags)
		}
		err := m.dirs.move(from, to)
		if errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, fs.ErrExist) && m.dirs.isOdd(to) {
			stuck = true // it is served from where it is
			continue
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			m.events.orderScan() // somebody else moved it, or put another file there: look again
			continue
		}
		if isFull(err) {
			m.postpone(err) // the directory needs another block
			return nil
		}
		if err != nil {
			return err
		}
		m.secondNames.remove(n, to)
		m.renamed(n, to)
	}
	return nil
}

// justCame reports whether a message arrived less than newPatience ago. A time in the
// future does not count: the clock was changed.
func (m *Mailbox) justCame(n uint32) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	age := m.env.Now().Sub(time.Unix(int64(m.t.Row(n).Saved), 0))
	return age >= 0 && age < newPatience
}

// stuckPatience is how long mail that cannot be moved from new/ is left alone. Each attempt
// costs a look under the lock.
const stuckPatience = time.Minute

// moveLater schedules another look at the mail that moveNew left in new/ because it had
// just arrived (later). For mail that cannot be moved (stuck), no session is woken. Anything
// else that it left there is handled by whoever looks next.
func (m *Mailbox) moveLater(later, stuck bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch now := m.env.Now(); {
	case later:
		m.newMail.from = now.Add(newPatience)
		m.alarms.set(moveAlarm, newPatience)
	case stuck:
		m.newMail.from = now.Add(stuckPatience)
	default:
		m.newMail.from = time.Time{}
	}
}
