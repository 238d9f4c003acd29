package mailbox

import (
	"errors"
	"io/fs"
	"slices"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// assign gives a row to each of the files, and a UID to those without a record, in the
// order in which Dovecot would. m.sync is held, and the uidlist has been read up to its end
// under its lock. If lock is nil (nothing can be written here), the UIDs are those that
// would have been recorded.
func (m *Mailbox) assign(lock *dotlock.Lock, files []entry) error {
	var came []uint32
	defer func() { m.dateRows(came) }()
	if files = m.enterRecorded(files, &came); len(files) == 0 && m.list.Header().UIDValidity != 0 {
		return nil
	}
	a, err := m.prepareArrivals(lock, files)
	if err != nil {
		return err
	}
	switch err := m.dropRecords(lock, a.fresh); {
	case err == nil:
	case isFull(err):
		m.leaveOut(err)
		a.fresh = nil
	default:
		return err
	}
	if lock == nil && !m.unwritable && len(a.fresh) > 0 { // no room for a lock, and so none for records
		a.fresh, m.backlog.incomplete = nil, true
	}
	entered := false
	enter := func(first uint32) {
		m.enterArrivals(first, a, &came)
		entered = true
	}
	var meanwhile func(uint32)
	if !m.loaded { // if this fails, the folder is not opened
		meanwhile = func(first uint32) {
			enter(first)
			if _, err := m.readHistory(); err == nil {
				_ = m.settleRows(lock)
			} // if this fails, settle does it later
		}
	}
	first, err := m.record(lock, a.fresh, nil, meanwhile)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoUID): // mail that has a UID is served, so that it can be moved
		if a.fresh = nil; !m.uidsExhausted {
			m.uidsExhausted = true
			m.env.Log.Error("new mail is not shown: no UID is left", "mailbox", m.Path(), "error", err)
		}
	case isFull(err) && m.list.Header().UIDValidity != 0: // no room for the list either
		m.leaveOut(err)
		a.fresh = nil
	default:
		return err
	}
	if !entered {
		enter(first)
	}
	for _, e := range a.second {
		m.takeName(e)
	}
	return nil
}

// arrivals are files that become messages, one for each base, in the order of their UIDs.
type arrivals struct {
	known  []entry      // have a record
	fresh  []entry      // get a record
	second []entry      // second names of the above, see takeName
	bases  *table.Bases // of all files that were examined
	files  int          // how many were examined
	octets int          // total length of the bases of known and fresh
}

// prepareArrivals sorts out which of the files that have no row become messages: it renames
// those whose base cannot be used for a message of its own (giveOwnBase), and takes over the
// names of those that turn out to belong to a message (takeName).
func (m *Mailbox) prepareArrivals(lock *dotlock.Lock, files []entry) (*arrivals, error) {
	filename.SortBy(files, func(e entry) string { return e.name }, func(a, b entry) int { return int(a.where) - int(b.where) })
	files = slices.CompactFunc(files, entry.sameName)
	lineUp(files)
	a := &arrivals{fresh: make([]entry, 0, len(files)), files: len(files)}
	a.bases = m.t.NewBases(len(files), func(i uint32) string { return filename.Base(files[i].name) })
	empty := m.t.Len() == 0 // then no base is known
	for i, e := range files {
		base := filename.Base(e.name)
		slot := a.bases.Slot(base)
		again := *slot != 0
		if first := *slot - 1; again && files[first].where == table.InNew && e.where == table.InCur {
			// Mail moves from new/ to cur/: the file in new/ came later, or is left over
			// from a move.
			a.replace(files[first], e)
			files[first], e = e, files[first]
		}
		if again && m.dirs.sameFile(files[*slot-1], e) {
			a.second = append(a.second, e)
			continue
		}
		taken := again
		if !taken && !empty && m.hasFile(base) {
			if m.takeName(e) {
				continue
			}
			taken = true
		}
		if taken || base == "" || len(base) > longestBase && (empty || !m.recorded(base)) { // too long for flags
			var done bool
			var err error
			if e, done, err = m.giveOwnBase(lock, e); err != nil {
				return nil, err
			}
			if !done {
				continue
			}
			base = filename.Base(e.name)
			slot = a.bases.Slot(base)
		}
		files[i] = e
		*slot = uint32(i) + 1
		a.octets += len(base)
		if !empty && m.recorded(base) {
			a.known = append(a.known, e)
		} else {
			a.fresh = append(a.fresh, e)
		}
	}
	return a, nil
}

// replace replaces one file by another.
func (a *arrivals) replace(of, e entry) {
	for _, list := range [][]entry{a.known, a.fresh} {
		for i, have := range slices.Backward(list) { // it is usually one of the last
			if have == of {
				list[i] = e
				return
			}
		}
	}
}

// enterArrivals turns arrivals into messages. The fresh ones get the UIDs from first on.
func (m *Mailbox) enterArrivals(first uint32, a *arrivals, came *[]uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range a.known {
		n, _ := m.t.Lookup(filename.Base(e.name))
		m.enter(n, e)
		m.cameNow(n, came)
	}
	if m.t.Len() == 0 && len(a.fresh) == a.files {
		m.enterAll(first, a)
	} else {
		m.reserve(a.fresh)
		for i, e := range a.fresh {
			m.enterNew(first+uint32(i), e)
		}
	}
	for n := m.t.Len() - uint32(len(a.fresh)); n < m.t.Len(); n++ {
		m.cameNow(n, came)
	}
}

// enterAll turns the files of arrivals, all of them fresh, into the messages of an empty
// table, like enterNew for each of them. m.mu is held.
func (m *Mailbox) enterAll(first uint32, a *arrivals) {
	files := a.fresh
	m.t.Fill(first, len(files), func(i int) (table.Place, string, uint32) { return files[i].where, files[i].name, files[i].inode }, a.octets, a.bases)
	m.modseqs.reserve(len(files))
	for n := range m.t.Len() {
		m.modseqs.unsettle(n)
		if files[n].where == table.InNew {
			m.newMail.rows[n] = struct{}{}
		}
	}
}

// reserve allocates memory for new messages. m.mu is held.
func (m *Mailbox) reserve(files []entry) {
	octets := 0
	for _, e := range files {
		octets += len(filename.Base(e.name))
	}
	m.t.Reserve(len(files), octets)
	m.modseqs.reserve(len(files))
}

// enterRecorded gives a row to each of the files whose record no client has been told of
// yet, as is the case for all of them when a folder is opened, and returns the other files.
// The order of these files does not matter, unless two of them claim one record: then it
// returns all of them.
func (m *Mailbox) enterRecorded(files []entry, came *[]uint32) (others []entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.views) > 0 || m.t.Len() == 0 {
		return files
	}
	rows := make([]uint32, len(files)) // row+1, 0 for none
	taken := make([]uint64, m.t.Len()/64+1)
	for i, e := range files {
		n, ok := m.t.Lookup(filename.Base(e.name))
		if !ok || m.t.Row(n).State != table.Absent {
			others = append(others, e)
			continue
		}
		if taken[n/64]&(1<<(n%64)) != 0 {
			return files
		}
		taken[n/64] |= 1 << (n % 64)
		rows[i] = n + 1
	}
	for i, e := range files {
		if rows[i] > 0 {
			m.enter(rows[i]-1, e)
			m.cameNow(rows[i]-1, came)
		}
	}
	return others
}

// enter notes that a row has a file. m.mu is held.
func (m *Mailbox) enter(n uint32, e entry) {
	before := m.t.Row(n).Flags
	m.setName(n, e)
	m.flagsChanged(n, before)
	m.t.SetState(n, table.Present)
	m.t.SetRecent(n, e.where == table.InNew)
}

// enterNew turns a file that has no UID yet into a message. The session that is told of it
// first gets it as \Recent (RFC 3501 section 2.3.2), whether the file is in new/ or cur/.
func (m *Mailbox) enterNew(uid uint32, e entry) uint32 {
	n := m.addRow(uid, filename.Base(e.name))
	m.enter(n, e)
	m.t.SetRecent(n, true)
	return n
}

// hasFile reports whether a present row has this base.
func (m *Mailbox) hasFile(base string) bool {
	_, ok := m.presentRow(base)
	return ok
}

// recorded reports whether a file with this base can have the UID of its record: no client
// has been told of a later message yet, or that this one is gone.
func (m *Mailbox) recorded(base string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(base)
	if !ok || m.t.Row(n).State != table.Absent {
		return false
	}
	for v := range m.views {
		if n < v.known {
			return false
		}
	}
	return true
}

// longestBase is the length in bytes of the longest base to which all system flags can
// still be appended: file names have at most 255 bytes.
const longestBase = 255 - len(":2,DFPRST")

// giveOwnBase renames a file whose base cannot be that of a message of its own. done is false
// if the file has to wait: without the lock, without room on the disk, or until it is found
// again.
func (m *Mailbox) giveOwnBase(lock *dotlock.Lock, e entry) (renamed entry, done bool, err error) {
	if lock == nil {
		return e, false, nil
	}
	renamed, err = m.rename(e)
	if errors.Is(err, fs.ErrNotExist) { // somebody else moved it since it was listed
		m.events.orderScan()
		return e, false, nil
	}
	if err == nil {
		err = m.dirs.sync() // its UID depends on the name
	}
	if isFull(err) { // the directory needs another block
		m.leaveOut(err)
		return e, false, nil
	}
	return renamed, err == nil, err
}

// rename moves a file whose base is taken, empty or too long to a new name in new/.
func (m *Mailbox) rename(e entry) (entry, error) {
	flags := filename.FlagsOf(e.name)
	to := entry{table.InNew, e.inode, m.env.Delivery.UniqueName()}
	if flags != 0 {
		to.name = filename.WithFlags(to.name, flags)
	}
	if err := m.dirs.move(e, to); err != nil {
		return e, err
	}
	m.env.Log.Warn("a file got a new name: two had the same one up to the flags, or it had none, or one too long for flags",
		"mailbox", m.Path(), "old", e.name, "new", to.name)
	return to, nil
}
