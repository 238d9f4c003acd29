package mailbox

import (
	"slices"

	"maildird/maildir/mailbox/table"
	"maildird/maildir/uidlist"
)

// readList takes over what other programs wrote to dovecot-uidlist and dovecot-keywords.
// m.sync is held.
func (m *Mailbox) readList() error {
	// Records are merged in batches, so that sessions never wait for a whole long list.
	var batch []uidlist.Record
	var failed error
	seen := rowBits{}
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

// rowBits is a set of rows, one bit each, such as those whose records a list has.
type rowBits []uint64

func (l *rowBits) add(n uint32) {
	if k := int(n/64) + 1 - len(*l); k > 0 {
		*l = append(*l, make([]uint64, k)...)
	}
	(*l)[n/64] |= 1 << (n % 64)
}

func (l rowBits) has(n uint32) bool { return int(n/64) < len(l) && l[n/64]&(1<<(n%64)) != 0 }

// noteUnlisted notes the messages of which a new list has no record. If their files are
// still there, the list lost them: see resolve and tidyList.
func (m *Mailbox) noteUnlisted(seen *rowBits) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.unlisted = m.unlisted[:0]
	for n := range m.t.Len() {
		if m.t.Row(n).State == table.Present && !seen.has(n) {
			m.unlisted = append(m.unlisted, n)
		}
	}
}

// merge enters records in the table: new ones as messages without a file.
func (m *Mailbox) merge(records []uidlist.Record, seen *rowBits) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.list.Header()
	if m.head.contradicts(h) {
		m.env.Log.Warn("another program gave the mailbox a new UIDVALIDITY", "mailbox", m.Path(),
			"old", m.head.validity, "new", h.UIDValidity)
		m.replaced = true
		return ErrReplaced
	}
	m.head.take(h)
	for _, r := range records {
		if n, ok := m.t.ByUID(r.UID); ok {
			if string(m.t.Base(n)) == r.Base {
				seen.add(n)
				m.setExt(n, r.Ext)
			} else {
				m.env.Log.Error("dovecot-uidlist gives a UID to another file than before, keeping the first",
					"mailbox", m.Path(), "uid", r.UID, "first", string(m.t.Base(n)), "now", r.Base)
			}
			continue
		}
		if r.UID < m.t.LastUID() {
			continue // a message that was gone before the table was made
		}
		n := m.addRow(r.UID, r.Base)
		m.setExt(n, r.Ext)
		seen.add(n)
	}
	return nil
}

// addRow appends a row. If the base had a UID before, its file is reassigned to the new
// one. m.mu is held.
func (m *Mailbox) addRow(uid uint32, base string) uint32 {
	n, old, again := m.t.Add(uid, base)
	if again && m.t.Row(old).State == table.Present {
		e := entry{m.t.Row(old).Where, m.t.Row(old).Inode, m.t.FileName(old)}
		m.expungeRows([]uint32{old})
		m.setName(n, e)
		m.t.SetState(n, table.Present)
		m.modseqs.unsettle(n)
		m.setSaved(n, m.t.Row(old).Saved)
	}
	return n
}

// expungeRows removes rows from the table, including those that were only expected to have
// a file, and tells the views. m.mu is held.
func (m *Mailbox) expungeRows(rows []uint32) {
	rows = slices.DeleteFunc(rows, func(n uint32) bool {
		if m.modseqs.expected(n) {
			m.t.SetState(n, table.Expunged)
			m.modseqs.unsettle(n)
		}
		return m.t.Row(n).State != table.Present
	})
	slices.Sort(rows)
	rows = slices.Compact(rows)
	for _, n := range rows {
		m.t.SetState(n, table.Expunged)
		m.modseqs.unsettle(n)
		delete(m.newMail.rows, n)
	}
	m.tellGone(rows)
}
