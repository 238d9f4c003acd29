package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
)

// readList takes over what other programs wrote to dovecot-uidlist and
// dovecot-keywords. m.sync is held.
func (m *Mailbox) readList() error {
	// Records come in batches, so that sessions wait for none of a long list.
	var batch []uidlist.Record
	var failed error
	seen := listed{}
	flush := func() {
		if failed == nil {
			failed = m.merge(batch, &seen)
		}
		batch = batch[:0]
	}
	change, err := m.list.Refresh(func(r uidlist.Record) {
		if batch = append(batch, r); len(batch) == mergeBatch {
			flush()
		}
	})
	if err != nil {
		return err
	}
	flush()
	if failed != nil {
		return failed
	}
	if change == uidlist.Replaced || change == uidlist.Missing {
		m.noteUnlisted(&seen)
	}
	return m.readKeywords()
}

const mergeBatch = 1024

// listed is the rows with a file whose records a list has, a bit each.
type listed []uint64

func (l *listed) add(n uint32) {
	if k := int(n/64) + 1 - len(*l); k > 0 {
		*l = append(*l, make([]uint64, k)...)
	}
	(*l)[n/64] |= 1 << (n % 64)
}

func (l listed) has(n uint32) bool { return int(n/64) < len(l) && l[n/64]&(1<<(n%64)) != 0 }

// noteUnlisted notes the messages that a new list has no record of. If their
// files turn out to be there, the list lost them: see tidyList.
func (m *Mailbox) noteUnlisted(seen *listed) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.unlisted = m.unlisted[:0]
	for n := range m.t.rows {
		if m.t.rows[n].state == present && !seen.has(uint32(n)) {
			m.unlisted = append(m.unlisted, uint32(n))
		}
	}
}

// merge enters records into the table: new ones as messages without a file.
func (m *Mailbox) merge(records []uidlist.Record, seen *listed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.list.Header()
	if m.validity != 0 && h.UIDValidity != 0 && h.UIDValidity != m.validity {
		m.env.Log.Warn("another program gave the mailbox a new UIDVALIDITY", "mailbox", m.Path(),
			"old", m.validity, "new", h.UIDValidity)
		m.replaced = true
		return ErrReplaced
	}
	if h.UIDValidity != 0 {
		m.validity = h.UIDValidity
	}
	m.uidNext = max(m.uidNext, h.NextUID)
	m.guid = h.GUID
	for _, r := range records {
		if n, ok := m.t.byUID(r.UID); ok {
			if string(m.t.base(n)) == r.Base {
				seen.add(n)
				m.t.setExt(n, r.Ext)
			} else {
				m.env.Log.Error("dovecot-uidlist gives a UID to another file than before, keeping the first",
					"mailbox", m.Path(), "uid", r.UID, "first", string(m.t.base(n)), "now", r.Base)
			}
			continue
		}
		if k := len(m.t.rows); k > 0 && r.UID < m.t.rows[k-1].uid {
			continue // a message that was gone before we came
		}
		n := m.addRow(r.UID, r.Base)
		m.t.setExt(n, r.Ext)
		seen.add(n)
	}
	return nil
}

// addRow appends a row. If the base had a UID before, the file goes over to
// the new one. m.mu is held.
func (m *Mailbox) addRow(uid uint32, base string) uint32 {
	old, again := m.t.lookup(base)
	n := m.t.add(uid, base)
	if again && m.t.rows[old].state == present {
		e := entry{m.t.rows[old].where, m.t.fileName(old)}
		m.expungeRows([]uint32{old})
		m.setName(n, e)
		m.t.setState(n, present)
		m.unsettle(n)
	}
	return n
}

// expungeRows takes rows out of the table, also such that were only expected to
// have a file, and tells the views. m.mu is held.
func (m *Mailbox) expungeRows(rows []uint32) {
	rows = slices.DeleteFunc(rows, func(n uint32) bool {
		if m.expected(n) {
			m.t.setState(n, expunged)
			m.unsettle(n)
		}
		return m.t.rows[n].state != present
	})
	slices.Sort(rows)
	rows = slices.Compact(rows)
	for _, n := range rows {
		m.t.setState(n, expunged)
		m.unsettle(n)
		delete(m.inNew, n)
		delete(m.sizes, n)
		delete(m.dates, n)
	}
	m.tellGone(rows)
}

// readKeywords takes over the names of the keyword letters. m.sync is held.
func (m *Mailbox) readKeywords() error {
	changed, err := m.words.Refresh()
	if err != nil {
		return err
	}
	if changed {
		m.takeKeywords()
	}
	return nil
}

// takeKeywords tells the views of letters that got a name, or another one, and
// of the messages that carry them.
func (m *Mailbox) takeKeywords() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changed filename.Flags
	for i := range m.names {
		name, _ := m.words.Name(i)
		if name != m.names[i] {
			m.names[i] = name
			changed |= filename.Keyword(i)
		}
	}
	if changed == 0 {
		return
	}
	for v := range m.views {
		v.keywords = true
	}
	for n := range m.t.rows {
		if r := &m.t.rows[n]; r.state == present && r.flags&changed != 0 {
			m.keywordsChanged(uint32(n), changed)
			m.tellFlags(uint32(n), nil)
		}
	}
}

// assign gives the files a row and those without a record a UID, in the order
// in which Dovecot would. m.sync is held and the uidlist read up to its end
// under its lock; with lock nil (nothing can be written here) the UIDs are
// those that would be recorded, and are not.
func (m *Mailbox) assign(lock *dotlock.Lock, files []entry) error {
	if files = m.enterRecorded(files); len(files) == 0 && m.list.Header().UIDValidity != 0 {
		return nil
	}
	slices.SortFunc(files, func(a, b entry) int {
		if c := filename.Compare(a.name, b.name); c != 0 {
			return c
		}
		return int(a.where) - int(b.where)
	})
	files = slices.Compact(files)
	var known, fresh []entry
	taken := map[string]bool{}
	for _, e := range files {
		var err error
		base := filename.Base(e.name)
		if base == "" || taken[base] || m.hasFile(base) && !m.met(e) {
			// Its base is another message's (or nothing): it gets one of its own.
			if lock == nil {
				continue
			}
			if e, err = m.rename(e); err != nil {
				return err
			}
			// Its UID depends on the name.
			if err := m.syncTouched(); err != nil {
				return err
			}
			base = e.name
		} else if m.hasFile(base) {
			continue // met
		}
		taken[base] = true
		if m.recorded(base) {
			known = append(known, e)
		} else {
			fresh = append(fresh, e)
		}
	}
	if err := m.dropRecords(lock, fresh); err != nil {
		return err
	}
	uids, err := m.record(lock, fresh, nil)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range known {
		n, _ := m.t.lookup(filename.Base(e.name))
		m.enter(n, e)
	}
	for i, e := range fresh {
		m.enterNew(uids[i], e)
	}
	return nil
}

// enterRecorded gives the files a row that have a record which nobody was told
// of yet, as all have when a folder is opened, and returns the others. The order
// does not matter for these, unless two files claim one record: then all are
// returned.
func (m *Mailbox) enterRecorded(files []entry) (others []entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.views) > 0 {
		return files
	}
	rows := make([]uint32, len(files)) // row+1, 0 for none
	taken := make([]uint64, len(m.t.rows)/64+1)
	for i, e := range files {
		n, ok := m.t.lookup(filename.Base(e.name))
		if !ok || m.t.rows[n].state != absent {
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
		}
	}
	return others
}

// enter notes that a row has a file. m.mu is held.
func (m *Mailbox) enter(n uint32, e entry) {
	before := m.t.rows[n].flags
	m.setName(n, e)
	m.flagsChanged(n, before)
	m.t.setState(n, present)
	m.t.rows[n].recent = e.where == inNew
}

// enterNew makes a file a message that had no UID so far. Whichever session is
// told of it first has it as \Recent (RFC 3501 section 2.3.2), wherever it is.
func (m *Mailbox) enterNew(uid uint32, e entry) uint32 {
	n := m.addRow(uid, filename.Base(e.name))
	m.enter(n, e)
	m.t.rows[n].recent = true
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
	n, ok := m.t.lookup(base)
	if !ok || m.t.rows[n].state != absent {
		return false
	}
	for v := range m.views {
		if n < v.known {
			return false
		}
	}
	return true
}

// record takes UIDs for the files and writes them to dovecot-uidlist, durable
// on return. ext, if not nil, gives the extension fields of each record.
func (m *Mailbox) record(lock *dotlock.Lock, files []entry, ext []string) ([]uint32, error) {
	h := m.list.Header()
	fresh := h.UIDValidity == 0 // there is no list
	if fresh {
		if lock == nil {
			return nil, fmt.Errorf("%w: it has no dovecot-uidlist and none can be created", ErrReadOnly)
		}
		if len(files) == 0 {
			return nil, m.newList()
		}
		var err error
		if h, err = m.newHeader(); err != nil {
			return nil, err
		}
	}
	m.mu.RLock()
	next := max(h.NextUID, m.uidNext, 1)
	m.mu.RUnlock()
	if len(files) == 0 {
		return nil, nil
	}
	if uint64(next)+uint64(len(files)) > uidlist.MaxUID+1 {
		return nil, fmt.Errorf("mailbox %s has used up its UIDs", m.Path())
	}
	uids := make([]uint32, len(files))
	records := make([]uidlist.Record, len(files))
	for i, e := range files {
		uids[i] = next + uint32(i)
		records[i] = uidlist.Record{UID: uids[i], Base: filename.Base(e.name)}
		if ext != nil {
			records[i].Ext = ext[i]
		}
	}
	if lock != nil {
		m.touch(lock)
		var err error
		if fresh {
			h.NextUID = next + uint32(len(files))
			err = m.replaceList(h, func(yield func(uidlist.Record) bool) {
				for r := range m.live() { // if the list was lost; their UIDs are lower
					if !yield(r) {
						return
					}
				}
				for _, r := range records {
					if !yield(r) {
						return
					}
				}
			})
		} else {
			err = m.list.Append(records)
		}
		if err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.uidNext = next + uint32(len(files))
	m.mu.Unlock()
	return uids, nil
}

// newList writes a list for a folder that has none that can be read. If it had
// one while this process looked, nothing is lost: UIDVALIDITY and UIDs are known.
func (m *Mailbox) newList() error {
	h, err := m.newHeader()
	if err != nil {
		return err
	}
	return m.rewrite(h)
}

// newHeader makes the header of a new list.
func (m *Mailbox) newHeader() (uidlist.Header, error) {
	h := m.list.Header()
	m.mu.RLock()
	h.UIDValidity = m.validity
	m.mu.RUnlock()
	if h.UIDValidity != 0 {
		m.env.Log.Warn("dovecot-uidlist was removed or destroyed, writing it again", "mailbox", m.Path(), "uidvalidity", h.UIDValidity)
		return h, nil
	}
	var err error
	h.UIDValidity, err = m.nextValidity()
	return h, err
}

// dropRecords takes the records out of the list that have a base under which
// another message is about to be recorded: a file that was moved away and back.
// Of two records with one base Dovecot takes the later, and complains each time
// that it reads the list.
func (m *Mailbox) dropRecords(lock *dotlock.Lock, files []entry) error {
	again := map[uint32]bool{}
	m.mu.RLock()
	for _, e := range files {
		if n, ok := m.t.lookup(filename.Base(e.name)); ok {
			again[n] = true
		}
	}
	m.mu.RUnlock()
	if len(again) == 0 || lock == nil {
		return nil
	}
	m.touch(lock)
	return m.replaceList(m.list.Header(), func(yield func(uidlist.Record) bool) {
		for n := range m.t.rows {
			base := string(m.t.base(uint32(n)))
			last, _ := m.t.lookup(base)
			if m.t.rows[n].state == expunged || again[uint32(n)] || last != uint32(n) {
				continue
			}
			if !yield(uidlist.Record{UID: m.t.rows[n].uid, Base: base}) {
				return
			}
		}
	})
}

// rewrite replaces the list by one with the present messages only.
func (m *Mailbox) rewrite(h uidlist.Header) error { return m.replaceList(h, m.live()) }

func (m *Mailbox) replaceList(h uidlist.Header, records iter.Seq[uidlist.Record]) error {
	m.mu.RLock()
	h.NextUID = max(h.NextUID, m.uidNext, 1)
	m.mu.RUnlock()
	if err := m.list.Rewrite(h, records); err != nil {
		return err
	}
	m.mu.Lock()
	m.validity = h.UIDValidity
	m.guid = m.list.Header().GUID
	m.uidNext = max(h.NextUID, m.list.Header().NextUID)
	m.mu.Unlock()
	m.unlisted = nil
	return nil
}

// live gives the records of the present messages, most without fields: Rewrite
// keeps those that the list has. m.sync is held, so that the rows stand still.
func (m *Mailbox) live() iter.Seq[uidlist.Record] {
	return func(yield func(uidlist.Record) bool) {
		for n := range m.t.rows {
			r := &m.t.rows[n]
			if r.state == present && !yield(uidlist.Record{UID: r.uid, Ext: m.t.exts[uint32(n)], Base: string(m.t.base(uint32(n)))}) {
				return
			}
		}
	}
}

// tidyList rewrites a list that Dovecot would rewrite. The uidlist's lock is held.
func (m *Mailbox) tidyList() error {
	m.mu.RLock()
	live := int(m.t.count)
	lost := 0
	for _, n := range m.unlisted {
		if m.t.rows[n].state == present {
			lost++
		}
	}
	m.mu.RUnlock()
	if h := m.list.Header(); h.UIDValidity == 0 {
		return m.newList()
	}
	if lost > 0 {
		m.env.Log.Warn("dovecot-uidlist lost messages that are there, writing their UIDs again", "mailbox", m.Path(), "messages", lost)
	} else if !m.list.WantsRewrite(live) {
		m.unlisted = nil
		return nil
	}
	return m.rewrite(m.list.Header())
}

// rename gives a file whose base is taken or empty a fresh name in new/.
func (m *Mailbox) rename(e entry) (entry, error) {
	flags := filename.FlagsOf(e.name)
	to := entry{inNew, m.env.Delivery.UniqueName()}
	if flags != 0 {
		to.name = filename.WithFlags(to.name, flags)
	}
	if err := m.in(e.where).RenameNoReplace(e.name, m.dirs.New, to.name); err != nil {
		return e, err
	}
	m.touched(e.where)
	m.touched(inNew)
	m.env.Log.Warn("two files had one name up to the flags, or a file had none: it got a new name",
		"mailbox", m.Path(), "old", e.name, "new", to.name)
	return to, nil
}

// moveNew moves the mail in new/ to cur/ once a session has it: it is not new
// any more. The uidlist's lock is held.
func (m *Mailbox) moveNew(lock *dotlock.Lock) error {
	m.mu.RLock()
	rows := make([]uint32, 0, len(m.inNew))
	if m.claimed() {
		for n := range m.inNew {
			rows = append(rows, n)
		}
	}
	m.mu.RUnlock()
	slices.Sort(rows)
	for i, n := range rows {
		if i%1024 == 1023 {
			m.touch(lock)
		}
		m.mu.RLock()
		name, flags := m.t.fileName(n), m.t.rows[n].flags
		m.mu.RUnlock()
		to := entry{inCur, name}
		if filename.Base(name) == name {
			to.name = filename.WithFlags(name, flags)
		}
		err := m.dirs.New.RenameNoReplace(name, m.dirs.Cur, to.name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			m.events.putBack() // somebody else moved it, or put another file there: look
			continue
		}
		if err != nil {
			return err
		}
		m.touched(inNew)
		m.touched(inCur)
		m.renamed(n, to)
	}
	return nil
}
