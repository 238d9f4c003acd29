package mailbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"maildird/maildir/dotlock"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// The save date of a message is when it arrived in this folder (RFC 8514). It is kept in
// the history, because it must not change once a client was told. It comes from one of
// these:
//
//   - For what this process puts into the folder, the clock.
//   - For a file that turns up while the history is kept, the file's change time, which is
//     the time of the rename, link or creation that put it there.
//   - For a file that was there before and of which nothing is known, also its change time,
//     the best approximation. It is determined when a client asks for it, because the first
//     look at a folder must not examine each file, or when this process is about to change
//     it by a rename or a link.
//
// The first date in the history is the valid one, whichever process found it.

// saveDates is which of the save dates that the table has are in the history. Mailbox.mu
// guards it.
type saveDates struct {
	// unwritten are the rows whose save date may not be in the history yet, in any order,
	// possibly repeated. Only settleRows removes some, the first ones.
	unwritten []uint32
	// durable is set if all save dates in the history are on disk.
	durable bool
}

// final reports whether no save date can change any more, so that clients can be told.
func (d *saveDates) final() bool { return d.durable && len(d.unwritten) == 0 }

// found notes that the table got a row's save date from elsewhere than the history.
func (d *saveDates) found(n uint32) { d.unwritten = append(d.unwritten, n) }

// wrote notes that the first of the unwritten dates were added to the history. A copy to
// another mailbox may have added others meanwhile.
func (d *saveDates) wrote(first int) {
	if first > 0 {
		d.durable = false
	}
	if d.unwritten = slices.Clip(d.unwritten[first:]); len(d.unwritten) == 0 {
		d.unwritten = nil
	}
}

// dateBatch is how many messages get a save date when one is requested. Together they cost
// one write to the history.
const dateBatch = 8192

// SaveDate returns when the message was saved in this mailbox, to the second. It returns
// ErrGone if that is not known and the message's file is gone.
func (v *View) SaveDate(ctx context.Context, msg Message) (time.Time, error) {
	m := v.m
	if at := m.savedAt(msg.row); at != 0 {
		return time.Unix(int64(at), 0), nil
	}
	if err := m.findSaved(ctx, msg); err != nil {
		return time.Time{}, err
	}
	if err := m.acquire(ctx); err != nil {
		return time.Time{}, err
	}
	defer m.release()
	at := m.savedAt(msg.row)
	if at == 0 {
		m.dateFrom(msg.row)
		if err := m.keepDates(ctx); err != nil {
			return time.Time{}, err
		}
		m.mu.RLock()
		at = m.t.Row(msg.row).Saved
		m.mu.RUnlock()
	}
	return time.Unix(int64(at), 0), nil
}

// savedAt returns a row's save date if clients can be told of it, because it is in the
// history, on disk, and will not change any more, and otherwise 0.
func (m *Mailbox) savedAt(n uint32) uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.unwritable || m.dates.final() {
		return m.t.Row(n).Saved
	}
	return 0
}

// findSaved takes the save date of a message from its file, unless it has one.
func (m *Mailbox) findSaved(ctx context.Context, msg Message) error {
	return m.withFile(ctx, msg, func(e entry) error {
		m.mu.RLock()
		known := m.t.Row(msg.row).Saved != 0
		m.mu.RUnlock()
		if known {
			return nil
		}
		st, err := m.dirs.lstat(e)
		if err == nil {
			m.foundSaved(msg.row, st.Ctime)
		}
		return err
	})
}

// dateFrom takes the save dates of dateBatch messages, from row n on, from their files.
// m.sync is held.
func (m *Mailbox) dateFrom(n uint32) {
	m.mu.RLock()
	rows := make([]uint32, 0, dateBatch)
	for ; n < m.t.Len() && len(rows) < dateBatch; n++ {
		if r := m.t.Row(n); r.State == table.Present && r.Saved == 0 {
			rows = append(rows, n)
		}
	}
	m.mu.RUnlock()
	m.dateRows(rows)
}

// keepDates writes the save dates to the history, durable on return, if possible. m.sync is
// held.
func (m *Mailbox) keepDates(ctx context.Context) error {
	if m.unwritable {
		return nil
	}
	defer m.wake()
	err := m.locked(ctx, changePatience, func(lock *dotlock.Lock) error { return m.settle(ctx, lock) })
	if errors.Is(err, errNoLock) || errors.Is(err, errNoRoom) {
		return nil // the dates are valid as long as the mailbox is open
	}
	if err != nil {
		return err
	}
	m.historyError(m.hist.Sync())
	m.mu.Lock()
	m.dates.durable = true
	m.mu.Unlock()
	return nil
}

// settleSaved writes to the history the save dates that were found on the way. Otherwise
// they would have to be found again, and might differ then.
func (m *Mailbox) settleSaved(ctx context.Context) {
	m.mu.RLock()
	none := len(m.dates.unwritten) == 0
	m.mu.RUnlock()
	if none {
		return
	}
	if _, err := m.settled(ctx); err != nil {
		m.env.Log.Warn("cannot write when messages were saved", "mailbox", m.Path(), "file", history.Name, "error", err)
	}
}

// cameNow adds a row to came if its message arrived while the history was being kept, and
// the history does not have it yet. m.mu is held.
func (m *Mailbox) cameNow(n uint32, came *[]uint32) {
	if (m.loaded || m.modseqs.past) && m.t.Row(n).ModSeq == 0 {
		*came = append(*came, n)
	}
}

// dateRows takes the save dates of rows that have none from their files.
func (m *Mailbox) dateRows(rows []uint32) {
	for _, n := range rows {
		m.dateRow(n)
	}
}

// dateRow takes the save date of a row that has none from its file.
func (m *Mailbox) dateRow(n uint32) {
	m.mu.RLock()
	r := m.t.Row(n)
	if r.Saved != 0 || r.State != table.Present {
		m.mu.RUnlock()
		return
	}
	e := entry{where: r.Where, name: m.t.FileName(n)}
	m.mu.RUnlock()
	if st, err := m.dirs.lstat(e); err == nil {
		m.foundSaved(n, st.Ctime)
	}
}

// foundSaved records a row's save date, unless it has one.
func (m *Mailbox) foundSaved(n uint32, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.t.Row(n).Saved == 0 {
		m.setSaved(n, unixSeconds(at))
	}
}

// setSaved records a row's save date. m.mu is held.
func (m *Mailbox) setSaved(n uint32, at uint32) {
	if at == 0 {
		return
	}
	m.t.SetSaved(n, at)
	m.dates.found(n)
}

// unixSeconds converts a time to the form that it has in a row.
func unixSeconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 1), math.MaxUint32)) }

// takeSaved takes over save dates from the history, and adds their rows to dated.
func (m *Mailbox) takeSaved(dates []history.Saved, dated *rowBits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(dates) > 0 { // another process may not have synced them
		m.dates.durable = false
	}
	for _, d := range dates {
		if n, ok := m.t.ByUID(d.UID); ok {
			m.t.SetSaved(n, d.At)
			dated.add(n)
		}
	}
}

// keepSaved is called after the history was read from its beginning and had the save dates
// of the rows in dated. It arranges for the other known dates to be written to it. m.mu is
// held.
func (m *Mailbox) keepSaved(dated rowBits) {
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.Saved != 0 && r.State == table.Present && !dated.has(n) {
			m.dates.found(n)
		}
	}
}

// savedOf returns the save dates of rows in the form that the history uses. m.mu is held.
func (m *Mailbox) savedOf(rows []uint32) []history.Saved {
	rows = slices.Clone(rows)
	slices.Sort(rows)
	var out []history.Saved
	for _, n := range slices.Compact(rows) {
		if r := m.t.Row(n); r.State == table.Present {
			out = append(out, history.Saved{UID: r.UID, At: r.Saved})
		}
	}
	return out
}
