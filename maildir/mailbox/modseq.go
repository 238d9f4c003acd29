package mailbox

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// modseqs is what the mailbox knows of its history (package history). A change
// is settled when it has a mod-sequence and stands in the journal. What happens
// under the uidlist's lock is settled before the lock is given back; what other
// programs did is settled as soon as a client is to be told of mod-sequences,
// so that clients that want none cost none.
//
// Guarded by Mailbox.mu.
type modseqs struct {
	// unsettled are the rows that may differ from the history: new ones, those
	// that are gone, and those whose flags changed. Each is there once.
	unsettled []uint32
	// was is what the history says of the flags of present rows that have
	// others by now.
	was map[uint32]filename.Flags
	// strays are UIDs that the history has and the table has not.
	strays map[uint32]struct{}
	// dated are rows whose save date may not be in the history yet, in any
	// order; they may repeat.
	dated []uint32
	// highest is the highest mod-sequence of the history. The table has all
	// changes up to it.
	highest uint64
	// begun says that the history was read, or begun anew.
	begun bool
	// accounted is the highest UID that the history knows of.
	accounted uint32
	// lasting says that the history is on disk.
	lasting bool
	views   int // that are told mod-sequences
	// past says that the history reaches back to before this process.
	past bool
	// datesTold says that clients may be told of save dates at any moment.
	datesTold bool
}

// unsettle notes that a row may differ from the history. m.mu is held.
func (m *Mailbox) unsettle(n uint32) {
	if r := m.t.row(n); !r.unsettled {
		r.unsettled = true
		m.modseqs.unsettled = append(m.modseqs.unsettled, n)
	}
}

// flagsChanged notes that a row got its flags now; before are those that it had,
// or of a row without a file those that the history has. m.mu is held.
func (m *Mailbox) flagsChanged(n uint32, before filename.Flags) {
	r := m.t.row(n)
	if r.modseq != 0 {
		if r.flags == before {
			return
		}
		switch was, ok := m.modseqs.was[n]; {
		case m.unaware():
			m.modseqs.was[n] = ^r.flags // a client may learn it, so it counts, even if it is undone
		case !ok:
			m.modseqs.was[n] = before
		case was == r.flags:
			delete(m.modseqs.was, n)
		}
	}
	m.unsettle(n)
}

// unaware tells whether there is a view that is shown flags before they have a
// mod-sequence. m.mu is held.
func (m *Mailbox) unaware() bool {
	for v := range m.views {
		if !v.modseqs {
			return true
		}
	}
	return false
}

// showUnsettled makes all changes count that have no mod-sequence yet, as a view
// is about to show them. m.mu is held.
func (m *Mailbox) showUnsettled() {
	for n := range m.modseqs.was {
		m.modseqs.was[n] = ^m.t.row(n).flags
	}
}

// keywordsChanged notes that a row's letters stand for other keywords than the
// history says. m.mu is held.
func (m *Mailbox) keywordsChanged(n uint32, letters filename.Flags) {
	r := m.t.row(n)
	if _, ok := m.modseqs.was[n]; !ok && r.modseq != 0 {
		m.modseqs.was[n] = r.flags &^ letters
	}
	m.unsettle(n)
}

// expected tells whether a row has no file although clients may have been told
// of one: the history has it, or is older than it. m.mu is held.
func (m *Mailbox) expected(n uint32) bool {
	r := m.t.row(n)
	return r.state == absent && (r.modseq != 0 || m.modseqs.begun && r.uid > m.modseqs.accounted)
}

// mustSettle tells whether a client waits for the mod-sequence of a change.
func (m *Mailbox) mustSettle() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.modseqs.views > 0 && len(m.modseqs.unsettled) > 0 && !m.unwritable
}

// settled makes sure that the history has all that the table has, on disk if
// somebody is to be told of it. It returns the highest mod-sequence that may be
// told, 0 if there is none.
func (m *Mailbox) settled(ctx context.Context, tell bool) (highest uint64, err error) {
	if err := m.acquire(ctx); err != nil {
		return 0, err
	}
	defer m.release()
	// Others settle more as soon as m.sync is free.
	defer func() {
		m.mu.RLock()
		defer m.mu.RUnlock()
		if err == nil && m.modseqs.lasting {
			highest = m.modseqs.highest
		}
	}()
	if m.unwritable {
		return 0, nil
	}
	m.mu.RLock()
	s := &m.modseqs
	done := len(s.unsettled) == 0 && len(s.strays) == 0 && len(s.dated) == 0 && s.highest > 0 && s.accounted+1 >= m.uidNext
	m.mu.RUnlock()
	if !done || m.hist.Stale() {
		defer m.wake()
		err := m.locked(ctx, changePatience, func(lock *dotlock.Lock) error { return m.settle(ctx, lock) })
		switch {
		case errors.Is(err, errNoRoom):
			m.short(err)
			return 0, nil
		case errors.Is(err, errNoLock):
			m.cannotWrite(err)
			return 0, nil
		case err != nil:
			return 0, err
		}
	}
	if tell {
		m.syncHistory(m.dir.Sync)
	}
	return 0, nil
}

// syncHistory makes the history durable, before a client is told of it, with
// folder for the names in it. m.sync is held.
func (m *Mailbox) syncHistory(folder func() error) {
	m.historyError(m.hist.SyncWith(folder))
	m.mu.Lock()
	m.modseqs.lasting = m.modseqs.begun && m.hist.Err() == nil
	m.mu.Unlock()
}

// settle brings history and table in step. The uidlist's lock is held, and the
// uidlist read up to its end.
func (m *Mailbox) settle(ctx context.Context, lock *dotlock.Lock) error {
	doubts := m.readHistory()
	if err := m.lookAt(ctx, doubts); err != nil {
		return err
	}
	return m.settleRows(lock)
}

// settleRows is settle for one who has read the history and whom it left no
// doubts.
func (m *Mailbox) settleRows(lock *dotlock.Lock) error {
	m.touch(lock)
	m.mu.RLock()
	begun := m.modseqs.begun
	m.mu.RUnlock()
	if !begun {
		return nil
	}
	frame, rows, dated := m.unsettledFrame()
	if m.t.broken.Load() {
		return ErrReplaced
	}
	switch {
	case len(frame.Changed)+len(frame.Gone) > 0:
		frame.ModSeq = m.hist.Next()
		m.historyError(m.hist.Add(frame))
	case len(frame.Saved) > 0:
		frame.ModSeq = m.hist.Highest()
		m.historyError(m.hist.Add(frame))
	}
	m.mu.RLock()
	live := int(m.t.count)
	tell := m.modseqs.views > 0 || m.modseqs.datesTold
	m.mu.RUnlock()
	if m.hist.WantsRewrite(live) {
		if !m.loadTable() {
			return ErrReplaced
		}
		m.touch(lock)
		m.historyError(m.hist.Rewrite(m.entries(rows, frame.ModSeq)))
	}
	if tell {
		m.historyError(m.hist.Sync())
	}
	// From here on clients are told: another session may read it at any moment.
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range rows {
		m.t.setHistory(n, 0, frame.ModSeq)
	}
	s := &m.modseqs
	for _, n := range s.unsettled {
		m.t.row(n).unsettled = false
	}
	s.unsettled = s.unsettled[:0]
	if cap(s.unsettled) > 1<<12 {
		s.unsettled = nil
	}
	s.dated = slices.Clip(s.dated[dated:]) // a copy elsewhere may have added some
	if len(s.dated) == 0 {
		s.dated = nil
	}
	clear(s.was)
	clear(s.strays)
	s.highest, s.accounted, s.lasting = m.hist.Highest(), m.hist.Accounted(), m.hist.Err() == nil
	return nil
}

// historyError logs why the history cannot be written. It goes on in memory.
func (m *Mailbox) historyError(err error) {
	if err != nil {
		m.env.Log.Warn("the mailbox's change history cannot be written: clients that go away learn all flags again",
			"mailbox", m.Path(), "file", history.Name, "error", err)
	}
}

// readHistory takes over what other processes wrote. It returns the rows whose
// files have other flags than these processes saw, as far as is known here. The
// uidlist's lock is held.
func (m *Mailbox) readHistory() (doubts []uint32) {
	m.mu.RLock()
	validity := m.validity
	m.mu.RUnlock()
	if validity == 0 {
		return nil // there is no uidlist yet
	}
	var dated listed
	change := m.hist.Refresh(validity, func(f *history.Frame) {
		doubts = m.takeFrame(f, doubts)
		m.takeSaved(f.Saved, &dated)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.modseqs
	switch change {
	case history.Replaced:
		s.past = true
		m.keepSaved(dated)
	case history.Missing:
		doubts = nil
		m.hist.Begin(validity, max(m.uidNext, 1)-1)
		clear(s.was)
		clear(s.strays)
		for n := range m.t.n {
			switch r := m.t.row(n); {
			case r.state == absent:
				r.modseq = 0
			case r.state == present && r.modseq != 0:
				s.was[n] = ^r.flags // differs, whatever it was
				fallthrough
			case r.state == present:
				m.unsettle(n)
			}
		}
	}
	s.begun = true
	s.accounted = m.hist.Accounted()
	m.uidNext = max(m.uidNext, s.accounted+1)
	return doubts
}

// takeFrame takes over one frame of the history.
func (m *Mailbox) takeFrame(f *history.Frame, doubts []uint32) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, state := range f.Changed {
		n, ok := m.t.byUID(state.UID)
		if !ok {
			m.modseqs.strays[state.UID] = struct{}{}
			continue
		}
		r := m.t.row(n)
		switch r.state {
		case absent:
			m.t.setHistory(n, state.Flags, f.ModSeq)
		case expunged:
			m.unsettle(n)
		case present:
			m.t.setHistory(n, 0, max(r.modseq, f.ModSeq))
			if r.flags == state.Flags {
				delete(m.modseqs.was, n)
				m.tellModSeq(n)
				continue
			}
			m.modseqs.was[n] = state.Flags
			m.unsettle(n)
			doubts = append(doubts, n)
		}
	}
	for _, run := range f.Gone {
		m.takeGone(run)
	}
	return doubts
}

// takeGone takes over that UIDs were removed. A file that is there all the same
// gets a new UID, as clients were told that this one is gone. m.mu is held.
func (m *Mailbox) takeGone(run history.Run) {
	for n := m.t.firstFrom(run.First); n < m.t.n && m.t.row(n).uid <= run.Last; n++ {
		r := m.t.row(n)
		if r.state == present {
			m.expungeRows([]uint32{n})
			m.events.putBack()
		}
		m.t.setState(n, expunged)
		r.unsettled = false
	}
	for uid := range m.modseqs.strays {
		if uid >= run.First && uid <= run.Last {
			delete(m.modseqs.strays, uid)
		}
	}
}

// tellModSeq notes for the views that are told mod-sequences that a row has a
// new one. m.mu is held.
func (m *Mailbox) tellModSeq(n uint32) {
	for v := range m.views {
		if v.modseqs && n < v.known {
			v.flag(n)
		}
	}
}

// lookAt looks at the files of rows that have other flags than another process
// saw: most often that process renamed them a moment ago.
func (m *Mailbox) lookAt(ctx context.Context, doubts []uint32) error {
	rescan := false
	for _, n := range doubts {
		m.mu.RLock()
		r := *m.t.row(n)
		flags, ok := m.modseqs.was[n]
		e := entry{inCur, filename.WithFlags(m.t.fileName(n), flags)}
		m.mu.RUnlock()
		if !ok || r.state != present {
			continue
		}
		if _, err := m.in(e.where).Lstat(e.name); err == nil {
			m.met(e)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		} else if _, err := m.in(r.where).Lstat(m.nameOf(n)); err != nil {
			rescan = true // neither there nor where it was
		}
	}
	if !rescan {
		return ctx.Err()
	}
	p, err := m.listOnce()
	m.events.putBack()
	if err != nil {
		return err
	}
	m.expunged(slices.DeleteFunc(p.missing, m.stillThere))
	return nil
}

func (m *Mailbox) nameOf(n uint32) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.t.fileName(n)
}

// unsettledFrame collects what differs from the history, and the rows that
// changed; dated is how many of modseqs.dated are in it.
func (m *Mailbox) unsettledFrame() (f history.Frame, rows []uint32, dated int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &m.modseqs
	list := slices.Clone(s.unsettled)
	slices.Sort(list)
	gone := m.unaccounted()
	f.Changed, rows = make([]history.State, 0, len(list)), make([]uint32, 0, len(list))
	for _, n := range slices.Compact(list) {
		r := m.t.row(n)
		_, differs := s.was[n]
		switch {
		case !r.unsettled: // another process told of it
		case r.state == present && (differs || r.modseq == 0):
			f.Changed = append(f.Changed, history.State{UID: r.uid, Flags: r.flags})
			rows = append(rows, n)
		case r.state == expunged:
			gone = append(gone, history.Run{First: r.uid, Last: r.uid})
			rows = append(rows, n)
		}
	}
	for uid := range s.strays {
		gone = append(gone, history.Run{First: uid, Last: uid})
	}
	f.Gone = joined(gone)
	f.Saved = m.savedOf(s.dated)
	return f, rows, len(s.dated)
}

// unaccounted returns the UIDs above those that the history knows of that were
// given to messages which are gone already. m.mu is held.
func (m *Mailbox) unaccounted() (gone []history.Run) {
	next := m.modseqs.accounted + 1
	for n := m.t.firstFrom(next); n < m.t.n; n++ {
		r := m.t.row(n)
		if r.state == expunged {
			continue
		}
		if r.uid > next {
			gone = append(gone, history.Run{First: next, Last: r.uid - 1})
		}
		next = r.uid + 1
	}
	if next < m.uidNext {
		gone = append(gone, history.Run{First: next, Last: m.uidNext - 1})
	}
	return gone
}

// joined sorts runs and joins those that overlap or touch.
func joined(runs []history.Run) []history.Run {
	slices.SortFunc(runs, func(a, b history.Run) int { return cmp.Compare(a.First, b.First) })
	out := runs[:0]
	for _, r := range runs {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// entries gives all messages as the history has them, when those in rows, which
// ascend, changed now.
func (m *Mailbox) entries(rows []uint32, now uint64) []history.Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]history.Entry, 0, m.t.count)
	for n := range m.t.n {
		for len(rows) > 0 && rows[0] < n {
			rows = rows[1:]
		}
		if r := m.t.row(n); r.state == present {
			e := history.Entry{State: history.State{UID: r.uid, Flags: r.flags}, ModSeq: r.modseq, Saved: r.saved}
			if len(rows) > 0 && rows[0] == n {
				e.ModSeq = now
			}
			out = append(out, e)
		}
	}
	return out
}
