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

// event receives one event from the watcher's goroutine.
func (m *Mailbox) event(where table.Place, ev watch.Event) {
	var first bool
	if ev.Op == watch.Lost {
		m.nameChecks.again() // perhaps the directory was moved
		first = m.events.orderScan()
	} else {
		unsure := ev.Op != watch.Appeared && m.events.expecting()
		if filename.Ignored(ev.Name) {
			return
		}
		e := entry{where: where, name: ev.Name}
		if !unsure && m.agrees(e, ev.Op) {
			if ev.Op == watch.Appeared {
				m.events.appearedAgain(e)
			}
			return
		}
		first = m.events.add(e, ev.Op)
	}
	if first {
		m.wake()
	}
}

// agrees reports whether the table already knows what an event says, as it does after this
// process's own changes.
func (m *Mailbox) agrees(e entry, op watch.Op) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	here := ok && m.t.Row(n).State == table.Present && m.t.HasName(n, e.where, e.name)
	return here == (op == watch.Appeared)
}

// follow processes the names that changed, without listing a directory, and reports whether
// a scan is needed to be sure. m.sync is held, and the uidlist's lock too if lock is not
// nil. Without the lock, follow returns errNeedLock as soon as it finds a file that has no
// UID yet.
func (m *Mailbox) follow(c changes, lock *dotlock.Lock) (scan bool, err error) {
	defer m.events.expect()()
	var fresh []entry
	var vanished []entry
	for _, e := range c.order {
		if m.agrees(e, c.names[e]) {
			if c.names[e] == watch.Appeared {
				m.forgetIfReplaced(e) // created by this process, and then perhaps replaced
			}
			continue
		}
		st, err := m.dirs.lstat(e)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			vanished = append(vanished, e)
		case err != nil:
			return false, err
		case !st.Regular():
			m.env.Log.Warn("ignoring something among the messages that is not a regular file",
				"mailbox", m.Path(), "name", e.name, "type", st.Mode.Type().String())
			vanished = append(vanished, e) // in case it was a message before
		default:
			if err := m.knowsLetters(e, lock != nil); err != nil {
				return false, err
			}
			if c.names[e] != watch.Appeared {
				m.forgetFile(e)
			}
			e.inode = st.InodeSum()
			if !m.takeName(e) {
				fresh = append(fresh, e)
			} else {
				m.compareFile(e, st)
			}
		}
	}
	var gone []uint32
	for _, e := range vanished {
		n, ok := m.at(e)
		switch {
		case !ok: // the row has another name by now
		case m.takeSecondName(n): // it had two names and keeps the other
		case c.names[e] == watch.Removed:
			gone = append(gone, n)
		default:
			scan = true // moved away: find out where to
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

// forgetFile drops what is cached of a file that went away and is there again: it may be a
// different file.
func (m *Mailbox) forgetFile(e entry) {
	if n, ok := m.at(e); ok {
		m.outdate(n)
	}
}

// forgetAway calls forgetFile for the names that were dropped from the queue.
func (m *Mailbox) forgetAway() {
	for e := range m.events.takeAway() {
		if _, err := m.dirs.lstat(e); err == nil {
			m.forgetFile(e)
		}
	}
}

// forgetReplaced drops what is cached of the messages in whose place somebody put another
// file. m.sync is held.
func (m *Mailbox) forgetReplaced() {
	for e := range m.events.takeReappeared() {
		m.forgetIfReplaced(e)
	}
}

// forgetIfReplaced does the same for one name that appeared and belongs to a message.
func (m *Mailbox) forgetIfReplaced(e entry) {
	if _, ok := m.at(e); !ok {
		return
	}
	st, err := m.dirs.lstat(e)
	if err != nil {
		return
	}
	if !st.Regular() {
		m.events.orderScan()
	}
	m.compareFile(e, st)
}

// compareFile records which file is at e now, which st describes, and drops what is cached of
// its message unless it came from that file.
func (m *Mailbox) compareFile(e entry, st dirfd.Stat) {
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

// foundInode records the inode number that a listing gives for a message's file, and drops
// what is cached of the message unless it came from that file. The file is examined only if
// the cached data came from a file with another inode number.
func (m *Mailbox) foundInode(e entry) {
	if n, ok := m.at(e); ok {
		m.setInode(n, e.inode)
		m.doubtCached(n)
	}
}

// setInode must be called before cached data is compared: whoever reads the cache's files,
// or adds to the cache, compares the inode number there with the row's.
func (m *Mailbox) setInode(n, inode uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t.SetInode(n, inode)
}

// errNeedLock means that the work cannot be finished without the uidlist's lock.
var errNeedLock = errors.New("uidlist lock needed")

// at finds the present row whose file is at e, as far as the table knows.
func (m *Mailbox) at(e entry) (uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	if !ok || m.t.Row(n).State != table.Present || !m.t.HasName(n, e.where, e.name) {
		return 0, false
	}
	return n, true
}

// takeName takes over the name of the file e if it belongs to a row that already has a file:
// the message got new flags or was moved from new/ to cur/. known is false if it does not. If
// the old name still exists and is a different file, e is a message of its own. The caller
// has called expect before it found e.
func (m *Mailbox) takeName(e entry) (known bool) {
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
	was, err := m.dirs.lstat(old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true // the message may still be there, and e another one: nothing changes
	}
	if err == nil && was.Regular() {
		is, err := m.dirs.lstat(e)
		if err == nil && was.ID() != is.ID() {
			return false
		}
		// Two names of one file: a rename by link and unlink is in progress or was
		// interrupted, or somebody made a hard link. The old name is used as long as it
		// exists, unless it is in new/ and the other is in cur/.
		e.name = strings.Clone(e.name)
		if old.where == table.InNew && e.where == table.InCur {
			old.name = strings.Clone(old.name)
			m.renamed(n, e)
			e = old
		}
		m.secondNames.add(n, e)
		return true
	}
	m.renamed(n, e)
	return true
}

// takeSecondName gives a row whose file lost its name another name of the file. found is
// false if the file has none.
func (m *Mailbox) takeSecondName(n uint32) (found bool) {
	for e := range m.secondNames[n] {
		m.secondNames.remove(n, e)
		st, err := m.dirs.lstat(e)
		if err != nil {
			continue
		}
		e.inode = st.InodeSum()
		m.renamed(n, e)
		m.compareFile(e, st)
		return true
	}
	return false
}

// renamed records the new name of a row and tells the views if flags changed.
func (m *Mailbox) renamed(n uint32, e entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.t.Row(n).Flags
	m.setName(n, e)
	if !m.loaded { // mail that was moved before the first scan was claimed by others
		m.t.SetRecent(n, e.where == table.InNew)
	}
	if m.t.Row(n).Flags != before {
		m.flagsChanged(n, before)
		m.tellFlags(n, nil)
	}
}

// setName records where a row's file is. An entry without inode number stands for the same
// file as before. m.mu is held.
func (m *Mailbox) setName(n uint32, e entry) {
	m.t.SetName(n, e.where, e.name)
	if e.inode != 0 {
		m.t.SetInode(n, e.inode)
	}
	if e.where == table.InNew {
		m.newMail.rows[n] = struct{}{}
	} else {
		delete(m.newMail.rows, n)
	}
}

// expunged removes from the table the rows whose files are gone, in any order.
func (m *Mailbox) expunged(rows []uint32) {
	if len(rows) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expungeRows(rows)
}
