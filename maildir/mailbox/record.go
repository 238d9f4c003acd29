package mailbox

import (
	"fmt"
	"iter"
	"slices"

	"maildird/maildir/contain"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/uidlist"
)

// record assigns UIDs to the files, writes them to dovecot-uidlist, and returns the first
// UID; the others follow it. The records are durable on return or, during the first look,
// after it (lookLocked). ext, if not nil, has the extension fields of each record. meanwhile,
// if not nil, may be called with the first UID while a new list is being written that
// contains only these files.
func (m *Mailbox) record(lock *dotlock.Lock, files []entry, ext []string, meanwhile func(first uint32)) (first uint32, err error) {
	if m.t.Broken() {
		return 0, ErrReplaced // it is not known which message has which UID
	}
	h := m.list.Header()
	var ready func() error
	fresh := h.UIDValidity == 0 // there is no list
	if fresh {
		if lock == nil {
			return 0, fmt.Errorf("%w: %s has no dovecot-uidlist and none can be created", ErrReadOnly, m.Path())
		}
		if len(files) == 0 {
			return 0, m.newList()
		}
		if h, ready, err = m.newHeader(); err != nil {
			return 0, err
		}
	}
	m.mu.RLock()
	first = max(h.NextUID, m.head.next, 1)
	m.mu.RUnlock()
	if len(files) == 0 {
		return 0, nil
	}
	if uint64(first)+uint64(len(files)) > uidlist.MaxUID+1 {
		return 0, fmt.Errorf("%w: %s", ErrNoUID, m.Path())
	}
	next := first + uint32(len(files))
	records := recordsOf(first, files, ext)
	m.touch(lock)
	switch {
	case lock == nil:
	case fresh:
		h.NextUID = next
		steps := uidlist.Steps{Before: ready}
		if meanwhile != nil && m.t.Len() == 0 {
			steps.Meanwhile = func() {
				m.mu.Lock()
				m.head.take(h)
				m.mu.Unlock()
				meanwhile(first)
			}
		}
		err = m.recordAnew(h, steps, records)
	default:
		err = m.list.Append(slices.AppendSeq(make([]uidlist.Record, 0, len(files)), records))
	}
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	m.head.raise(next)
	m.mu.Unlock()
	return first, nil
}

// recordAnew writes a list where there is none or it was lost: the known messages have
// lower UIDs than the records. With steps.Meanwhile, there are no known messages.
func (m *Mailbox) recordAnew(h uidlist.Header, steps uidlist.Steps, records iter.Seq[uidlist.Record]) error {
	err := m.prepareList(h, steps, func(yield func(uidlist.Record) bool) {
		if steps.Meanwhile == nil {
			for r := range m.live() {
				if !yield(r) {
					return
				}
			}
		}
		records(yield)
	})
	if err == nil && m.loaded { // else see lookLocked: no client can be told yet
		err = m.list.Settle()
	}
	return err
}

// recordsOf returns the records of files that get the UIDs from first on.
func recordsOf(first uint32, files []entry, ext []string) iter.Seq[uidlist.Record] {
	return func(yield func(uidlist.Record) bool) {
		for i, e := range files {
			r := uidlist.Record{UID: first + uint32(i), Base: filename.Base(e.name)}
			if ext != nil {
				r.Ext = ext[i]
			}
			if !yield(r) {
				return
			}
		}
	}
}

// newList writes a list for a folder that has no readable one. If it had one while this
// process looked, nothing is lost: UIDVALIDITY and UIDs are known.
func (m *Mailbox) newList() error {
	h, ready, err := m.newHeader()
	if err != nil {
		return err
	}
	if err := m.prepareList(h, uidlist.Steps{Before: ready}, m.live()); err != nil {
		return err
	}
	return m.list.Settle()
}

// newHeader returns the header of a new list, which may get its name once ready (nil:
// nothing to wait for) has returned.
func (m *Mailbox) newHeader() (h uidlist.Header, ready func() error, err error) {
	h = m.list.Header()
	m.mu.RLock()
	h.UIDValidity = m.head.validity
	m.mu.RUnlock()
	if h.UIDValidity != 0 {
		if !m.isHere() { // the whole folder is being removed
			m.markReplaced()
			return h, nil, ErrReplaced
		}
		m.env.Log.Warn("dovecot-uidlist was removed or destroyed, rewriting it", "mailbox", m.Path(), "uidvalidity", h.UIDValidity)
		return h, nil, nil
	}
	next := m.nextValidity
	if m.validityAhead != nil {
		next, m.validityAhead = m.validityAhead, nil
	}
	h.UIDValidity, ready, err = next()
	return h, ready, err
}

// takeValidityAhead calls nextValidity, and makes its value durable, in another goroutine, for
// the list that a folder gets after its files were listed: both take about as long as listing
// some thousand names. newHeader gets the result; end waits for the goroutine.
func (m *Mailbox) takeValidityAhead() (end func()) {
	var n uint32
	var settle func() error
	var err, settled error
	var taken, durable contain.Group
	taken.Go(func() { n, settle, err = m.nextValidity() })
	durable.Go(func() {
		if taken.Wait(); err == nil && settle != nil {
			settled = settle()
		}
	})
	m.validityAhead = func() (uint32, func() error, error) {
		taken.Wait()
		return n, func() error { durable.Wait(); return settled }, err
	}
	return func() {
		m.validityAhead = nil
		durable.Wait()
	}
}

// dropRecords removes records from the list if another message is about to be recorded with
// the same base, because a file was moved away and back. If two records have the same base,
// Dovecot uses the later one and logs an error each time it reads the list.
func (m *Mailbox) dropRecords(lock *dotlock.Lock, files []entry) error {
	if m.t.Len() == 0 {
		return nil
	}
	again := map[uint32]bool{}
	m.mu.RLock()
	for _, e := range files {
		if n, ok := m.t.Lookup(filename.Base(e.name)); ok {
			again[n] = true
		}
	}
	m.mu.RUnlock()
	if len(again) == 0 || lock == nil || m.list.Header().UIDValidity == 0 { // without a list: the one to come will not have them
		return nil
	}
	m.touch(lock)
	return m.replaceList(m.list.Header(), func(yield func(uidlist.Record) bool) {
		for n := range m.t.Len() {
			base := string(m.t.Base(n))
			last, _ := m.t.Lookup(base)
			if m.t.Row(n).State == table.Expunged || again[n] || last != n {
				continue
			}
			if !yield(uidlist.Record{UID: m.t.Row(n).UID, Base: base}) {
				return
			}
		}
	})
}

// rewrite replaces the list by one that has only the present messages.
func (m *Mailbox) rewrite(h uidlist.Header) error { return m.replaceList(h, m.live()) }

func (m *Mailbox) replaceList(h uidlist.Header, records iter.Seq[uidlist.Record]) error {
	if err := m.prepareList(h, uidlist.Steps{}, records); err != nil {
		return err
	}
	return m.list.Settle()
}

// prepareList replaces the list. The new one does not get its name before the steps are
// done, and becomes durable with Settle.
func (m *Mailbox) prepareList(h uidlist.Header, steps uidlist.Steps, records iter.Seq[uidlist.Record]) error {
	m.mu.RLock()
	h.NextUID = max(h.NextUID, m.head.next, 1)
	m.mu.RUnlock()
	if !m.loadTable() {
		return ErrReplaced
	}
	if err := m.list.Prepare(h, records, steps); err != nil {
		return err
	}
	m.takeHead()
	m.unlisted = nil
	return nil
}

// loadTable reads all of the table and reports whether that was possible.
func (m *Mailbox) loadTable() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.t.LoadAll()
}

// live returns the records of the present messages, most of them without fields: Prepare
// keeps those that are in the list. m.sync is held, so that the rows do not change.
func (m *Mailbox) live() iter.Seq[uidlist.Record] {
	return func(yield func(uidlist.Record) bool) {
		for n := range m.t.Len() {
			r := m.t.Row(n)
			if r.State == table.Present && !yield(uidlist.Record{UID: r.UID, Ext: m.t.Ext(n), Base: string(m.t.Base(n))}) {
				return
			}
		}
	}
}

// raiseNextUID writes the next UID to the uidlist if the history knows of higher UIDs,
// because an older list was restored. The history may be deleted, and Dovecot does not read
// it.
func (m *Mailbox) raiseNextUID(lock *dotlock.Lock) error {
	m.mu.RLock()
	next := m.head.next
	m.mu.RUnlock()
	if h := m.list.Header(); lock == nil || h.UIDValidity == 0 || h.NextUID >= next {
		return nil
	}
	m.touch(lock)
	err := m.list.RaiseNextUID(next)
	m.takeHead()
	return m.postponeIfFull(err)
}

// tidy is tidyList, postponed if there is no room for it: a list that lost something, until
// the next attempt in a while, and one that is only too long, until the next look under the
// lock.
func (m *Mailbox) tidy() error {
	err := m.tidyList()
	if m.list.Header().UIDValidity == 0 {
		return err // nothing works without a list
	}
	if isFull(err) && m.untidy() {
		m.events.orderScan()
	}
	return m.postponeIfFull(err)
}

// untidy reports whether the list, as it was read last, has lost something that the table
// has. m.sync is held.
func (m *Mailbox) untidy() bool { return len(m.unlisted) > 0 || m.list.Damaged() }

// shortList is the value of Mailbox.shortList outside tests. Rewriting a list costs two syncs, for
// which somebody may be waiting, and a small folder often loses a quarter of its messages. To
// read the records of a thousand removed ones costs less than a millisecond.
const shortList = 1000

// tidyList rewrites the list if it has lost something, or as soon as Dovecot would unless it is
// short. The uidlist's lock is held.
func (m *Mailbox) tidyList() error {
	m.mu.RLock()
	live := int(m.t.Count())
	lost := 0
	for _, n := range m.unlisted {
		if m.t.Row(n).State == table.Present {
			lost++
		}
	}
	m.mu.RUnlock()
	if h := m.list.Header(); h.UIDValidity == 0 {
		return m.newList()
	}
	if lost > 0 {
		// Dovecot does this if a file was renamed while it listed the directory and it
		// therefore missed it. Nobody has to do anything.
		m.env.Log.Info("another program wrote dovecot-uidlist without some existing messages, which keep their UIDs", "mailbox", m.Path(), "messages", lost)
	} else if !m.list.WantsRewrite(live, m.shortList) {
		m.unlisted = nil
		return nil
	}
	return m.rewrite(m.list.Header())
}
