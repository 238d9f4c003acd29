package mailbox

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// assign gives the files a row and those without a record a UID, in the order
// in which Dovecot would. m.sync is held and the uidlist read up to its end
// under its lock; with lock nil (nothing can be written here) the UIDs are
// those that would be recorded, and are not.
func (m *Mailbox) assign(lock *dotlock.Lock, files []entry) error {
	var came []uint32
	defer func() { m.dateRows(came) }()
	if files = m.enterRecorded(files, &came); len(files) == 0 && m.list.Header().UIDValidity != 0 {
		return nil
	}
	a, err := m.arrive(lock, files)
	if err != nil {
		return err
	}
	if lock == nil && !m.unwritable && len(a.fresh) > 0 { // no room for a lock, nor for records
		a.fresh, m.late = nil, true
	}
	entered := false
	enter := func(first uint32) {
		m.enterArrivals(first, a, &came)
		entered = true
	}
	var meanwhile func(uint32)
	if !m.loaded { // if it fails, the folder is not opened
		meanwhile = func(first uint32) {
			enter(first)
			m.readHistory()
			_ = m.settleRows(lock) // or else settle does
		}
	}
	first, err := m.record(lock, a.fresh, nil, meanwhile)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoUID): // the mail that has one is served, so that it can be moved
		if a.fresh = nil; !m.usedUp {
			m.usedUp = true
			m.env.Log.Error("new mail is not shown: no UID is left", "mailbox", m.Path(), "error", err)
		}
	case isFull(err) && m.list.Header().UIDValidity != 0: // here too
		m.short(err)
		a.fresh, m.late = nil, true
	default:
		return err
	}
	if !entered {
		enter(first)
	}
	for _, e := range a.second {
		m.met(e)
	}
	return nil
}

// arrivals are files that become messages, one for each base, in the order of
// their UIDs.
type arrivals struct {
	known  []entry      // that have a record
	fresh  []entry      // that get one
	second []entry      // second names of these, see met
	bases  *table.Bases // of all files that were looked at
	files  int          // how many these are
	octets int          // of the bases of known and fresh
}

// arrive finds out which of some files without a row become messages. One whose
// base cannot be a message's own is renamed, under the lock; without it, it has
// to wait.
func (m *Mailbox) arrive(lock *dotlock.Lock, files []entry) (*arrivals, error) {
	filename.SortBy(files, func(e entry) string { return e.name }, func(a, b entry) int { return int(a.where) - int(b.where) })
	files = slices.CompactFunc(files, entry.sameName)
	lineUp(files)
	a := &arrivals{fresh: make([]entry, 0, len(files)), files: len(files)}
	a.bases = m.t.NewBases(len(files), func(i uint32) string { return filename.Base(files[i].name) })
	empty := m.t.Len() == 0 // then nothing is known of any base
	for i, e := range files {
		base := filename.Base(e.name)
		slot := a.bases.Slot(base)
		again := *slot != 0
		if first := *slot - 1; again && files[first].where == table.InNew && e.where == table.InCur {
			// Mail goes that way: what is in new/ came later, or is left of a move.
			a.instead(files[first], e)
			files[first], e = e, files[first]
		}
		if again && m.sameFile(files[*slot-1], e) {
			a.second = append(a.second, e)
			continue
		}
		if base == "" || again || !empty && m.hasFile(base) && !m.met(e) || len(base) > longestBase && (empty || !m.recorded(base)) {
			// Its base is another message's (or nothing), or leaves no room for
			// flags: it gets one of its own.
			if lock == nil {
				continue
			}
			var err error
			if e, err = m.rename(e); errors.Is(err, fs.ErrNotExist) {
				m.events.orderScan() // somebody else moved it since it was listed: look
				continue
			}
			if err != nil {
				return nil, err
			}
			// Its UID depends on the name.
			if err := m.syncTouched(); err != nil {
				return nil, err
			}
			base = filename.Base(e.name)
			slot = a.bases.Slot(base)
		} else if !empty && m.hasFile(base) {
			continue // met
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
	if empty {
		return a, nil
	}
	return a, m.dropRecords(lock, a.fresh)
}

// instead puts another file in the place of one.
func (a *arrivals) instead(of, e entry) {
	for _, list := range [][]entry{a.known, a.fresh} {
		for i, have := range slices.Backward(list) { // it is one of the last, as a rule
			if have == of {
				list[i] = e
				return
			}
		}
	}
}

// enterArrivals makes arrivals messages, the fresh ones with the UIDs from first
// on.
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

// enterAll makes the files of arrivals, all fresh, the messages of a table that
// has none, as enterNew would one by one. m.mu is held.
func (m *Mailbox) enterAll(first uint32, a *arrivals) {
	files := a.fresh
	m.t.Fill(first, len(files), func(i int) (table.Place, string, uint32) { return files[i].where, files[i].name, files[i].inode }, a.octets, a.bases)
	m.modseqs.unsettled = slices.Grow(m.modseqs.unsettled, len(files))
	for n := range m.t.Len() {
		m.unsettle(n)
		if files[n].where == table.InNew {
			m.inNew[n] = struct{}{}
		}
	}
}

// reserve makes room for new messages. m.mu is held.
func (m *Mailbox) reserve(files []entry) {
	octets := 0
	for _, e := range files {
		octets += len(filename.Base(e.name))
	}
	m.t.Reserve(len(files), octets)
	m.modseqs.unsettled = slices.Grow(m.modseqs.unsettled, len(files))
}

// enterRecorded gives the files a row that have a record which nobody was told
// of yet, as all have when a folder is opened, and returns the others. The order
// does not matter for these, unless two files claim one record: then all are
// returned.
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

// enterNew makes a file a message that had no UID so far. Whichever session is
// told of it first has it as \Recent (RFC 3501 section 2.3.2), wherever it is.
func (m *Mailbox) enterNew(uid uint32, e entry) uint32 {
	n := m.addRow(uid, filename.Base(e.name))
	m.enter(n, e)
	m.t.SetRecent(n, true)
	return n
}

// hasFile tells whether a present row has this base.
func (m *Mailbox) hasFile(base string) bool {
	_, ok := m.presentRow(base)
	return ok
}

// recorded tells whether a file with this base can have the UID of its record:
// nobody was told yet of a later message, nor that this one is gone.
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

// longestBase is the longest base, in bytes, that a name can have with all flags
// of the system behind it: names have 255 bytes at most.
const longestBase = 255 - len(":2,DFPRST")

// rename gives a file whose base is taken, empty or too long a fresh name in
// new/.
func (m *Mailbox) rename(e entry) (entry, error) {
	flags := filename.FlagsOf(e.name)
	to := entry{table.InNew, e.inode, m.env.Delivery.UniqueName()}
	if flags != 0 {
		to.name = filename.WithFlags(to.name, flags)
	}
	if err := m.in(e.where).RenameNoReplace(e.name, m.dirs.New, to.name); err != nil {
		return e, err
	}
	m.touched(e.where)
	m.touched(table.InNew)
	m.env.Log.Warn("a file got a new name: two had the same one up to the flags, or it had none, or one too long for flags",
		"mailbox", m.Path(), "old", e.name, "new", to.name)
	return to, nil
}

// secondStays is how long a second name of a file is left alone: a move by link and
// unlink may be under way. Dovecot waits as long (DUPE_LINKS_DELETE_SECS).
const secondStays = 30 * time.Second

// dropSecond removes the second names of files that a move by link and unlink left
// when it was cut short, and that other programs take for messages. The uidlist's lock
// is held.
func (m *Mailbox) dropSecond() {
	for n, e := range m.alias {
		m.mu.RLock()
		kept := entry{where: m.t.Row(n).Where, name: m.t.FileName(n)}
		m.mu.RUnlock()
		st, err := m.in(e.where).Lstat(e.name)
		if err != nil || m.env.Now().Sub(st.Ctime) < secondStays || !m.sameFile(kept, e) {
			continue
		}
		// The name that stays may not be durable yet.
		if err = m.in(kept.where).Sync(); err == nil {
			err = m.in(e.where).Remove(e.name)
		}
		if err != nil {
			m.env.Log.Warn("a message has two names", "mailbox", m.Path(), "name", kept.name, "other", e.name, "error", err)
			continue
		}
		m.touched(e.where)
		delete(m.alias, n)
		m.env.Log.Warn("a message had two names", "mailbox", m.Path(), "kept", kept.name, "removed", e.name)
	}
}

// newPatience is how long mail stays in new/ at least, up to the second that save
// dates have. Programs that deliver may come back to the file by the name that they
// gave it: notmuch insert puts it into its database, offlineimap renames it for its
// flags, and both fail where it is not.
const newPatience = 2 * time.Second

// moveNew moves the mail in new/ to cur/ once a session has it: it is not new
// any more. What came just now, while sessions watch, is moved later, and is served
// from where it is meanwhile; SELECT moves all, as Dovecot does. The uidlist's lock
// is held.
func (m *Mailbox) moveNew(lock *dotlock.Lock) error {
	later := false
	defer func() { m.moveLater(later) }()
	m.mu.Lock()
	rows := make([]uint32, 0, len(m.inNew))
	atOnce := m.moveAll
	m.moveAll = false
	if m.claimed() {
		for n := range m.inNew {
			rows = append(rows, n)
		}
	}
	m.mu.Unlock()
	slices.Sort(rows)
	for i, n := range rows {
		if i%1024 == 1023 {
			m.touch(lock)
		}
		m.mu.RLock()
		name, flags := m.t.FileName(n), m.t.Row(n).Flags
		m.mu.RUnlock()
		m.dateRow(n)
		if !atOnce && m.justCame(n) {
			later = true
			continue
		}
		to := entry{where: table.InCur, name: name}
		if filename.Base(name) == name {
			to.name = filename.WithFlags(name, flags)
		}
		err := m.dirs.New.RenameNoReplace(name, m.dirs.Cur, to.name)
		if errors.Is(err, fs.ErrExist) && m.sameFile(entry{where: table.InNew, name: name}, to) {
			// A crash in the middle of an earlier move left both names.
			err = m.dirs.New.Remove(name)
			delete(m.alias, n)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			m.events.orderScan() // somebody else moved it, or put another file there: look
			continue
		}
		if errors.Is(err, syscall.ENAMETOOLONG) {
			continue // it is served from where it is
		}
		if isFull(err) {
			m.short(err) // a directory needs another block
			return nil
		}
		if err != nil {
			return err
		}
		m.touched(table.InNew)
		m.touched(table.InCur)
		m.renamed(n, to)
	}
	return nil
}

// justCame tells whether mail came less than newPatience ago. One from the future
// did not: the clock was set.
func (m *Mailbox) justCame(n uint32) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	age := m.env.Now().Sub(time.Unix(int64(m.t.Row(n).Saved), 0))
	return age >= 0 && age < newPatience
}

// moveLater has what moveNew left in new/ looked at again when it is time; if it
// left nothing for that, whoever looks next does so.
func (m *Mailbox) moveLater(left bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moveFrom = time.Time{}
	if left {
		m.moveFrom = m.env.Now().Add(newPatience)
		m.again.Reset(newPatience)
	}
}
