package mailbox

import (
	"errors"
	"io/fs"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// follow works off the names that changed, without listing a directory, and
// says whether a scan is needed to be sure. m.sync is held, and the uidlist's
// lock if lock is not nil; without it, errNeedLock is returned as soon as a file
// turns up that has no UID yet.
func (m *Mailbox) follow(c changes, lock *dotlock.Lock) (scan bool, err error) {
	defer m.events.expect()()
	var fresh []entry
	var vanished []entry
	for _, e := range c.order {
		if m.agrees(e, c.names[e]) {
			if c.names[e] == watch.Appeared {
				m.forgetIfReplaced(e) // once by us, and then perhaps again
			}
			continue
		}
		st, err := m.in(e.where).Lstat(e.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			vanished = append(vanished, e)
		case err != nil:
			return false, err
		case !st.Regular():
			m.env.Log.Warn("ignoring something among the messages that is not a regular file",
				"mailbox", m.Path(), "name", e.name, "type", st.Mode.Type().String())
			vanished = append(vanished, e) // if it had been a message
		default:
			if err := m.knowsLetters(e, lock != nil); err != nil {
				return false, err
			}
			if c.names[e] != watch.Appeared {
				m.forgetFile(e)
			}
			e.inode = st.InodeSum()
			if !m.met(e) {
				fresh = append(fresh, e)
			} else {
				m.forgetUnless(e, st)
			}
		}
	}
	var gone []uint32
	for _, e := range vanished {
		n, ok := m.at(e)
		switch {
		case !ok: // the row has another name by now
		case m.aliased(n): // it had two names, and keeps the other
		case c.names[e] == watch.Removed:
			gone = append(gone, n)
		default:
			scan = true // moved away: where to?
		}
	}
	m.expunged(gone)
	if len(fresh) == 0 {
		return scan, nil
	}
	if lock == nil {
		return scan, errNeedLock
	}
	return scan, m.assign(lock, fresh)
}

// forgetFile drops what is cached of a file that went away and is there again:
// it may be another one.
func (m *Mailbox) forgetFile(e entry) {
	if n, ok := m.at(e); ok {
		m.outdate(n)
	}
}

// forgetAway does that for the names that were dropped.
func (m *Mailbox) forgetAway() {
	m.events.mu.Lock()
	away := m.events.away
	m.events.away = nil
	m.events.mu.Unlock()
	for e := range away {
		if _, err := m.in(e.where).Lstat(e.name); err == nil {
			m.forgetFile(e)
		}
	}
}

// forgetReplaced drops what is cached of the messages in whose place somebody put
// another file. m.sync is held.
func (m *Mailbox) forgetReplaced() {
	m.events.mu.Lock()
	again := m.events.again
	m.events.again = nil
	m.events.mu.Unlock()
	for e := range again {
		m.forgetIfReplaced(e)
	}
}

// forgetIfReplaced does that for a name that appeared and is a message's.
func (m *Mailbox) forgetIfReplaced(e entry) {
	if _, ok := m.at(e); !ok {
		return
	}
	st, err := m.in(e.where).Lstat(e.name)
	if err != nil {
		return
	}
	if !st.Regular() {
		m.events.orderScan()
	}
	m.forgetUnless(e, st)
}

// forgetUnless drops what is cached of the message at e unless it is of the file that
// is there.
func (m *Mailbox) forgetUnless(e entry, st dirfd.Stat) {
	n, ok := m.at(e)
	if !ok {
		return
	}
	if e.inode == 0 {
		e.inode = st.InodeSum()
	}
	m.setInode(n, e.inode)
	m.compareCached(n, st)
}

// foundInode notes what a listing says of a message's file, and drops what is cached of
// the message unless it is of that file. It is looked at only where something is cached
// of one with another inode number.
func (m *Mailbox) foundInode(e entry) {
	if n, ok := m.at(e); ok {
		m.setInode(n, e.inode)
		m.doubtCached(n)
	}
}

// setInode comes before what is cached is compared: who reads the cache from its files
// or adds to it compares that with the row.
func (m *Mailbox) setInode(n, inode uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t.SetInode(n, inode)
}

// errNeedLock says that the work cannot be finished without the uidlist's lock.
var errNeedLock = errors.New("uidlist lock needed")

// at finds the present row whose file is, as far as the table knows, at e.
func (m *Mailbox) at(e entry) (uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	if !ok || m.t.Row(n).State != table.Present || !m.t.HasName(n, e.where, e.name) {
		return 0, false
	}
	return n, true
}

// met enters the file e in the table if it belongs to a row that has a file
// already, and says whether it did: such a message got new flags or went from
// new/ to cur/. If the old name is still there and another file, e is a
// message of its own.
func (m *Mailbox) met(e entry) bool {
	m.mu.RLock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	if !ok || m.t.Row(n).State != table.Present {
		m.mu.RUnlock()
		return false
	}
	if m.t.HasName(n, e.where, e.name) {
		m.mu.RUnlock()
		return true
	}
	old := entry{where: m.t.Row(n).Where, name: m.t.FileName(n)}
	m.mu.RUnlock()
	if was, err := m.in(old.where).Lstat(old.name); err == nil && was.Regular() {
		is, err := m.in(e.where).Lstat(e.name)
		if err == nil && was.ID() != is.ID() {
			return false
		}
		// Two names of one file: a rename by link and unlink is under way, or was
		// cut short, or somebody made a hard link. The old name serves while it is
		// there, but for one in new/ that was moved to cur/.
		e.name = strings.Clone(e.name)
		if old.where == table.InNew && e.where == table.InCur {
			old.name = strings.Clone(old.name)
			m.renamed(n, e)
			e = old
		}
		m.alias[n] = e
		return true
	}
	m.renamed(n, e)
	return true
}

// aliased gives a row whose file lost its name the other name it had, if any.
func (m *Mailbox) aliased(n uint32) bool {
	e, ok := m.alias[n]
	if !ok {
		return false
	}
	delete(m.alias, n)
	st, err := m.in(e.where).Lstat(e.name)
	if err != nil {
		return false
	}
	e.inode = st.InodeSum()
	m.renamed(n, e)
	m.forgetUnless(e, st)
	return true
}

// renamed notes the new name of a row and tells the views if flags changed.
func (m *Mailbox) renamed(n uint32, e entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.t.Row(n).Flags
	m.setName(n, e)
	if !m.loaded { // what was moved before anybody looked was claimed by others
		m.t.SetRecent(n, e.where == table.InNew)
	}
	if m.t.Row(n).Flags != before {
		m.flagsChanged(n, before)
		m.tellFlags(n, nil)
	}
}

// setName enters where a row's file is. Without an inode number it is the same file as
// before. m.mu is held.
func (m *Mailbox) setName(n uint32, e entry) {
	m.t.SetName(n, e.where, e.name)
	if e.inode != 0 {
		m.t.SetInode(n, e.inode)
	}
	if e.where == table.InNew {
		m.inNew[n] = struct{}{}
	} else {
		delete(m.inNew, n)
	}
}

// expunged takes rows out of the table whose files are gone, ascending or not.
func (m *Mailbox) expunged(rows []uint32) {
	if len(rows) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expungeRows(rows)
}
