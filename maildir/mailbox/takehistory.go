package mailbox

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/history"
)

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
