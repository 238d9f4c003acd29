package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// readHistory takes over what other processes wrote. It returns the rows whose flags in the
// table differ from those that these processes saw. If the disk does not respond, it returns
// dirfd.ErrNoAnswer, and all is as before. The uidlist's lock is held.
func (m *Mailbox) readHistory() (doubts []uint32, err error) {
	m.mu.RLock()
	validity := m.head.validity
	m.mu.RUnlock()
	if validity == 0 {
		return nil, nil // there is no uidlist yet
	}
	var dated rowBits
	change := m.hist.Refresh(validity, func(f *history.Frame) {
		doubts = m.takeFrame(f, doubts)
		m.takeSaved(f.Saved, &dated)
	})
	if change == history.Unknown {
		return nil, fmt.Errorf("change history of %s: %w", m.Path(), dirfd.ErrNoAnswer)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.copied = m.hist.Copied()
	s := &m.modseqs
	switch change {
	case history.Replaced:
		s.past = true
		m.keepSaved(dated)
		m.doubtLetters()
	case history.Appended:
		m.doubtLetters()
	case history.Missing:
		doubts, m.dates.durable = nil, false
		m.hist.Begin(validity, m.head.last())
		s.lost()
	}
	s.begun = true
	s.accounted = m.hist.Accounted()
	m.head.raise(s.accounted + 1)
	return doubts, nil
}

// otherLetters returns the keyword letters whose names differ from those in the history,
// with their current names. m.mu is held.
func (m *Mailbox) otherLetters() (letters []history.Letter) {
	then := m.hist.Letters()
	for i, name := range m.names {
		if name != then[i] {
			letters = append(letters, history.Letter{Index: i, Name: name})
		}
	}
	return letters
}

// doubtLetters marks as different from the history the rows that have, or had, a letter
// that stood for another name when the history was written: somebody changed
// dovecot-keywords while no maildird process was looking. m.mu is held.
func (m *Mailbox) doubtLetters() {
	var others filename.Flags
	for _, l := range m.otherLetters() {
		others |= filename.Keyword(l.Index)
	}
	if others != 0 {
		m.modseqs.lettersChanged(others)
	}
}

// takeFrame takes over one frame of the history.
func (m *Mailbox) takeFrame(f *history.Frame, doubts []uint32) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, state := range f.Changed {
		n, ok := m.t.ByUID(state.UID)
		if !ok {
			m.modseqs.strays[state.UID] = struct{}{}
			continue
		}
		r := m.t.Row(n)
		switch r.State {
		case table.Absent:
			m.t.SetHistory(n, state.Flags, f.ModSeq)
		case table.Expunged:
			m.modseqs.unsettle(n)
		case table.Present:
			m.t.SetHistory(n, 0, max(r.ModSeq, f.ModSeq))
			if m.modseqs.took(n, state.Flags) {
				m.tellModSeq(n)
			} else {
				doubts = append(doubts, n)
			}
		}
	}
	for _, run := range f.Gone {
		m.takeGone(run)
	}
	return doubts
}

// takeGone takes over that UIDs were removed. If a file is there all the same, it gets a
// new UID, since clients were told that this one is gone. m.mu is held.
func (m *Mailbox) takeGone(run history.Run) {
	for n := m.t.FirstFrom(run.First); n < m.t.Len() && m.t.Row(n).UID <= run.Last; n++ {
		r := m.t.Row(n)
		if r.State == table.Present {
			m.expungeRows([]uint32{n})
			m.events.orderScan()
		}
		m.t.SetState(n, table.Expunged)
		m.t.SetUnsettled(n, false)
	}
	m.modseqs.forgetStrays(run)
}

// tellModSeq notes, for the views that are told mod-sequences, that a row has a new one.
// m.mu is held.
func (m *Mailbox) tellModSeq(n uint32) {
	for v := range m.views {
		if v.modseqs && n < v.known {
			v.flag(n)
		}
	}
}

// lookAt examines the files of rows whose flags differ from those that another process saw.
// Usually, that process has just renamed them.
func (m *Mailbox) lookAt(ctx context.Context, doubts []uint32) error {
	defer m.events.expect()()
	rescan := false
	for _, n := range doubts {
		m.mu.RLock()
		r := *m.t.Row(n)
		flags, ok := m.modseqs.was[n]
		e := entry{where: table.InCur, name: filename.WithFlags(m.t.FileName(n), flags)}
		m.mu.RUnlock()
		if !ok || r.State != table.Present {
			continue
		}
		if st, err := m.dirs.lstat(e); err == nil {
			if m.takeName(e) {
				m.compareFile(e, st)
			}
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENAMETOOLONG) {
			return err
		} else if _, err := m.dirs.in(r.Where).Lstat(m.nameOf(n)); err != nil {
			rescan = true // neither there nor where it was
		}
	}
	if !rescan {
		return ctx.Err()
	}
	p, err := m.listOnce()
	m.events.orderScan()
	if err != nil {
		return err
	}
	m.expunged(slices.DeleteFunc(p.missing, m.stillThere))
	return nil
}

func (m *Mailbox) nameOf(n uint32) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.t.FileName(n)
}
