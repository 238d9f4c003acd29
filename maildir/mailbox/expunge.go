package mailbox

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/maildirsize"
	"maildird/maildir/uidlist"
)

// Expunge removes those of the messages (nil: of all messages in the view) that are
// \Deleted, durable on return. Updates reports them to the view.
func (v *View) Expunge(ctx context.Context, uids []uint32) (removed []uint32, err error) {
	return v.take(ctx, uids, filename.Deleted)
}

// Remove removes messages whatever their flags, durable on return. Updates reports them to
// the view.
func (v *View) Remove(ctx context.Context, uids ...uint32) (removed []uint32, err error) {
	if len(uids) == 0 {
		return nil, nil // to take, nil would mean all
	}
	return v.take(ctx, uids, 0)
}

// take removes those of the messages that have all the flags.
func (v *View) take(ctx context.Context, uids []uint32, flags filename.Flags) (removed []uint32, err error) {
	if v.readOnly {
		return nil, ErrReadOnly
	}
	m := v.m
	err = m.changeAnyway(ctx, func(lock *dotlock.Lock) error {
		rows := m.having(v, uids, flags)
		removed, err = m.remove(lock, rows, flags)
		return err
	})
	return removed, err
}

// having returns the rows of the view, among uids unless nil, that have all the flags.
func (m *Mailbox) having(v *View, uids []uint32, flags filename.Flags) []uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var rows []uint32
	want := func(n uint32) {
		if r := m.t.Row(n); r.State == table.Present && r.Flags&flags == flags {
			rows = append(rows, n)
		}
	}
	if uids == nil {
		for n := range v.known {
			want(n)
		}
		return rows
	}
	for _, uid := range uids {
		if n, ok := m.t.ByUID(uid); ok && n < v.known {
			want(n)
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// remove unlinks the rows' files, marks the rows as gone and returns their UIDs. A file
// that has lost one of the flags meanwhile is kept. The uidlist's lock is held, or lock is
// nil because there is no room for one. What was removed before an error stays removed.
func (m *Mailbox) remove(lock *dotlock.Lock, rows []uint32, flags filename.Flags) ([]uint32, error) {
	var gone, uids []uint32
	var failed error
	counts, bytes, messages := m.counts(), int64(0), 0
	defer m.mute(len(rows), len(rows))()
	for i, n := range rows {
		if i%1024 == 1023 {
			m.touch(lock)
		}
		size := int64(0)
		if counts {
			size = m.fileSize(n)
		}
		err := m.unlink(n, flags)
		if errors.Is(err, errUnflagged) {
			continue
		}
		if err != nil && !errors.Is(err, ErrGone) {
			failed = err
			break
		}
		if err == nil {
			bytes, messages = bytes+size, messages+1
		}
		gone = append(gone, n)
		uids = append(uids, m.t.Row(n).UID)
	}
	failed = errors.Join(failed, m.syncRemoved(lock, uids))
	if counts {
		m.count(-bytes, -messages)
	}
	m.expunged(gone)
	if failed == nil && lock != nil {
		if err := m.tidy(); err != nil {
			m.settleLater(err)
		}
	}
	return uids, failed
}

// syncRemoved makes durable that message files were removed. removed are their UIDs,
// ascending; the table still has them. If the list is due to be rewritten, it is written at
// the same time, because a disk does both faster together than one after the other. The new
// list gets its name only once the files are durably gone.
func (m *Mailbox) syncRemoved(lock *dotlock.Lock, removed []uint32) error {
	m.mu.RLock()
	left := int(m.t.Count()) - len(removed)
	m.mu.RUnlock()
	if lock == nil || len(removed) == 0 || m.list.Header().UIDValidity == 0 || !m.list.WantsRewrite(left, m.shortList) {
		return m.dirs.sync()
	}
	var failed error
	synced := false
	sync := func() error {
		synced, failed = true, m.dirs.sync()
		return failed
	}
	err := m.prepareList(m.list.Header(), uidlist.Steps{Before: sync}, m.liveBut(removed))
	if err == nil {
		err = m.list.Settle()
	}
	if !synced { // the list was not even started
		_ = sync()
	}
	if failed == nil {
		if err := m.postponeIfFull(err); err != nil {
			m.settleLater(err)
		}
	}
	return failed
}

// liveBut is live without the messages with the given UIDs, which ascend.
func (m *Mailbox) liveBut(removed []uint32) iter.Seq[uidlist.Record] {
	return func(yield func(uidlist.Record) bool) {
		rest := removed
		for r := range m.live() {
			for len(rest) > 0 && rest[0] < r.UID {
				rest = rest[1:]
			}
			if len(rest) > 0 && rest[0] == r.UID {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// fileSize returns how much the file of a row counts in the quota.
func (m *Mailbox) fileSize(n uint32) int64 {
	e := m.placeOf(n)
	return maildirsize.Size(m.dirs.in(e.where), e.name)
}

// errUnflagged means that a message lost the flag for which it was to be removed.
var errUnflagged = errors.New("not flagged any more")

// unlink removes the file of a row, by all names if it has several, even if other programs
// move it meanwhile, unless they removed one of the flags.
func (m *Mailbox) unlink(n uint32, flags filename.Flags) error {
	for i := 0; i <= retries; i++ {
		m.mu.RLock()
		r := *m.t.Row(n)
		e := entry{where: r.Where, name: m.t.FileName(n)}
		m.mu.RUnlock()
		if r.State != table.Present {
			return ErrGone
		}
		if r.Flags&flags != flags {
			return errUnflagged
		}
		err := m.unlinkSeconds(n, e, flags)
		if err == nil {
			err = m.dirs.remove(e)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := m.rescan(n); err != nil {
			return err
		}
	}
	return ErrBusy
}
