package mailbox

import (
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// modseqs is what the mailbox knows of its history (package history). A change is settled
// once it has a mod-sequence and has been written to the journal. Changes made under the
// uidlist's lock are settled before the lock is released. Changes by other programs are
// settled only when a client is to be told mod-sequences, so that they cost nothing for
// clients that do not use them.
//
// modseqs is guarded by Mailbox.mu.
type modseqs struct {
	// unsettled are the rows that may differ from the history: new ones, those that are
	// gone, and those whose flags changed. Each row occurs once.
	unsettled []uint32
	// was holds the flags that the history has for present rows whose flags differ by now.
	was map[uint32]filename.Flags
	// strays are the UIDs that the history has and the table does not.
	strays map[uint32]struct{}
	// highest is the highest mod-sequence of the history. The table has all changes up to
	// it.
	highest uint64
	// begun is set once the history has been read or started anew.
	begun bool
	// accounted is the highest UID that the history knows of.
	accounted uint32
	// kept is set if the history could be written.
	kept bool
	// retryAt is when the history will be written again after that failed; zero if it did not.
	retryAt time.Time
	views   int // the number of views that are told mod-sequences
	// past is set if the history goes back to before this process.
	past bool
}

// unsettle notes that a row may differ from the history. m.mu is held.
func (m *Mailbox) unsettle(n uint32) {
	if r := m.t.Row(n); !r.Unsettled {
		m.t.SetUnsettled(n, true)
		m.modseqs.unsettled = append(m.modseqs.unsettled, n)
	}
}

// flagsChanged notes that the flags of a row were just changed. before are its previous
// flags or, for a row that had no file, those in the history. m.mu is held.
func (m *Mailbox) flagsChanged(n uint32, before filename.Flags) {
	r := m.t.Row(n)
	if r.ModSeq != 0 {
		if r.Flags == before {
			return
		}
		switch was, ok := m.modseqs.was[n]; {
		case m.unaware():
			m.modseqs.was[n] = ^r.Flags // a client may see the change, so it counts even if it is undone
		case !ok:
			m.modseqs.was[n] = before
		case was == r.Flags:
			delete(m.modseqs.was, n)
		}
	}
	m.unsettle(n)
}

// unaware reports whether there is a view that is shown flags before they have a
// mod-sequence. m.mu is held.
func (m *Mailbox) unaware() bool { return m.unwritable || m.modseqs.views < len(m.views) }

// shown is called before a client is shown changes that have no mod-sequence yet. It makes
// them count even if they are undone: the client then has the new flags with the old
// mod-sequence, and must still be told when it comes back.
func (m *Mailbox) shown(msgs []Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range msgs {
		r := m.t.Row(msg.row)
		if r.State != table.Present || r.ModSeq == 0 || r.ModSeq != msg.ModSeq {
			continue
		}
		if _, changed := m.modseqs.was[msg.row]; changed || r.Flags != msg.Flags {
			m.modseqs.was[msg.row] = ^r.Flags
			m.unsettle(msg.row)
		}
	}
}

// showUnsettled does the same for all changes that have no mod-sequence yet, because a view
// is about to show them. m.mu is held.
func (m *Mailbox) showUnsettled() {
	for n := range m.modseqs.was {
		m.modseqs.was[n] = ^m.t.Row(n).Flags
	}
}

// lettersChanged notes that letters stand for other keywords than in the history. The rows
// that have these letters differ from the history, and so do those that have them in the
// history: their files may have, or get back, the flags in the history while the table has
// others. m.mu is held.
func (m *Mailbox) lettersChanged(letters filename.Flags) {
	for n := range m.t.Len() {
		// The flags of a row without a file are those in the history.
		if r := m.t.Row(n); r.ModSeq != 0 && r.State != table.Expunged && (r.Flags|m.modseqs.was[n])&letters != 0 {
			m.modseqs.was[n] = ^r.Flags // differs from any flags
			m.unsettle(n)
		}
	}
}

// expected reports whether a row has no file although clients may have been told of one:
// the history has the row, or is older than the row. m.mu is held.
func (m *Mailbox) expected(n uint32) bool {
	r := m.t.Row(n)
	return r.State == table.Absent && (r.ModSeq != 0 || m.modseqs.begun && r.UID > m.modseqs.accounted)
}
