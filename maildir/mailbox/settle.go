package mailbox

import (
	"context"
	"errors"

	"maildird/maildir/dotlock"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// mustSettle reports whether a client is waiting for the mod-sequence of a change, or a
// history that could not be written is due to be tried again.
func (m *Mailbox) mustSettle() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &m.modseqs
	again := !s.retryAt.IsZero() && !m.env.Now().Before(s.retryAt)
	return (again || s.views > 0 && len(s.unsettled) > 0) && !m.unwritable
}

// settled makes sure that the history has everything that the table has. It returns the
// highest mod-sequence that clients may be told, 0 if there is none.
func (m *Mailbox) settled(ctx context.Context) (highest uint64, err error) {
	if err := m.acquire(ctx); err != nil {
		return 0, err
	}
	defer m.release()
	// Others settle more as soon as m.sync is released.
	defer func() {
		m.mu.RLock()
		defer m.mu.RUnlock()
		if err == nil && m.modseqs.kept {
			highest = m.modseqs.highest
		}
	}()
	if m.unwritable {
		return 0, nil
	}
	m.mu.RLock()
	s := &m.modseqs
	kept := s.kept || m.env.Now().Before(s.retryAt) // or there is nothing to be done about it
	done := kept && len(s.unsettled) == 0 && len(s.strays) == 0 && len(m.dates.unwritten) == 0 && s.highest > 0 && s.accounted >= m.head.last()
	m.mu.RUnlock()
	if !done || m.hist.Stale() {
		err := m.locked(ctx, changePatience, func(lock *dotlock.Lock) error { return m.settle(ctx, lock) })
		// Sessions that are woken may ask again at once: they must come to rest.
		if !errors.Is(err, errNoRoom) {
			defer m.wake()
		}
		switch {
		case errors.Is(err, errNoRoom):
			m.postpone(err)
			m.mu.Lock()
			s.kept = false
			m.mu.Unlock()
			return 0, nil
		case errors.Is(err, errNoLock):
			m.cannotWrite(err)
			return 0, nil
		case err != nil:
			return 0, err
		}
	}
	return 0, nil
}

// settle brings history and table in step. The uidlist's lock is held, and the uidlist has
// been read up to its end.
func (m *Mailbox) settle(ctx context.Context, lock *dotlock.Lock) error {
	doubts, err := m.readHistory()
	if err != nil {
		return err
	}
	if err := m.lookAt(ctx, doubts); err != nil {
		return err
	}
	if err := m.raiseNextUID(lock); err != nil {
		return err
	}
	return m.settleRows(lock)
}

// settleRows is settle for a caller that has read the history and has no doubts left.
func (m *Mailbox) settleRows(lock *dotlock.Lock) error {
	m.touch(lock)
	m.mu.RLock()
	begun := m.modseqs.begun
	m.mu.RUnlock()
	if !begun {
		return nil
	}
	frame, rows, dated := m.unsettledFrame()
	if m.t.Broken() {
		return ErrReplaced
	}
	switch {
	case len(frame.Changed)+len(frame.Gone) > 0 || m.hist.EndLost():
		frame.ModSeq = m.hist.Next()
		m.historyError(m.hist.Add(frame))
	case len(frame.Saved) > 0:
		frame.ModSeq = m.hist.Highest()
		m.historyError(m.hist.Add(frame))
	}
	m.mu.RLock()
	live := int(m.t.Count())
	m.mu.RUnlock()
	if m.hist.WantsRewrite(live) {
		if !m.loadTable() {
			return ErrReplaced
		}
		m.touch(lock)
		m.historyError(m.hist.Rewrite(m.entries(rows, frame.ModSeq)))
	}
	m.nowSettled(rows, frame.ModSeq, dated)
	return nil
}

// nowSettled notes that the history has everything that the table has: the given rows
// changed with that mod-sequence, and the first dated of the unwritten save dates were
// written. From here on, clients are told: another session may read it at any moment.
func (m *Mailbox) nowSettled(rows []uint32, modseq uint64, dated int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.modseqs
	s.settled(rows, modseq)
	m.dates.wrote(dated)
	s.highest, s.accounted, s.kept = m.hist.Highest(), m.hist.Accounted(), m.hist.Err() == nil
	if s.retryAt = m.hist.RetryAt(); !s.retryAt.IsZero() {
		m.alarms.set(historyAlarm, s.retryAt.Sub(m.env.Now()))
	}
}

// historyError logs why the history cannot be written. It continues in memory. m.sync is
// held.
func (m *Mailbox) historyError(err error) {
	m.mu.RLock()
	first := m.modseqs.retryAt.IsZero()
	m.mu.RUnlock()
	if err != nil && first && !errors.Is(m.endIfReplaced(err), ErrReplaced) {
		m.env.Log.Warn("the mailbox's change history cannot be written: returning clients will fetch all flags again",
			"mailbox", m.Path(), "file", history.Name, "error", err)
	}
}

// unsettledFrame returns the differences from the history and the rows that changed. dated
// is how many of the unwritten save dates the frame covers.
func (m *Mailbox) unsettledFrame() (f history.Frame, rows []uint32, dated int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f.Changed, f.Gone, rows = m.modseqs.differences(m.head.last())
	f.Saved = m.savedOf(m.dates.unwritten)
	if len(f.Changed) > 0 {
		f.Letters = m.otherLetters()
	}
	return f, rows, len(m.dates.unwritten)
}

// entries returns all messages in the form that the history uses, with the mod-sequence now
// for the given rows, which ascend.
func (m *Mailbox) entries(rows []uint32, now uint64) []history.Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]history.Entry, 0, m.t.Count())
	for n := range m.t.Len() {
		for len(rows) > 0 && rows[0] < n {
			rows = rows[1:]
		}
		if r := m.t.Row(n); r.State == table.Present {
			e := history.Entry{State: history.State{UID: r.UID, Flags: r.Flags}, ModSeq: r.ModSeq, Saved: r.Saved}
			if len(rows) > 0 && rows[0] == n {
				e.ModSeq = now
			}
			out = append(out, e)
		}
	}
	return out
}
