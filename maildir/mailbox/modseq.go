package mailbox

import (
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
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
	if r := m.t.Row(n); !r.Unsettled {
		m.t.SetUnsettled(n, true)
		m.modseqs.unsettled = append(m.modseqs.unsettled, n)
	}
}

// flagsChanged notes that a row got its flags now; before are those that it had,
// or of a row without a file those that the history has. m.mu is held.
func (m *Mailbox) flagsChanged(n uint32, before filename.Flags) {
	r := m.t.Row(n)
	if r.ModSeq != 0 {
		if r.Flags == before {
			return
		}
		switch was, ok := m.modseqs.was[n]; {
		case m.unaware():
			m.modseqs.was[n] = ^r.Flags // a client may learn it, so it counts, even if it is undone
		case !ok:
			m.modseqs.was[n] = before
		case was == r.Flags:
			delete(m.modseqs.was, n)
		}
	}
	m.unsettle(n)
}

// unaware tells whether there is a view that is shown flags before they have a
// mod-sequence. m.mu is held.
func (m *Mailbox) unaware() bool { return m.modseqs.views < len(m.views) }

// shown makes the changes of messages count that a client is about to be shown
// before they have a mod-sequence: should one be undone first, the client, which has
// the flags with the mod-sequence before them, is told all the same when it comes back.
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

// showUnsettled makes all changes count that have no mod-sequence yet, as a view
// is about to show them. m.mu is held.
func (m *Mailbox) showUnsettled() {
	for n := range m.modseqs.was {
		m.modseqs.was[n] = ^m.t.Row(n).Flags
	}
}

// lettersChanged notes that letters stand for other keywords than the history says.
// Rows differ from it that have them, and those of which the history says so: their
// files may have, or get back, the flags that it has while the table has others.
// m.mu is held.
func (m *Mailbox) lettersChanged(letters filename.Flags) {
	for n := range m.t.Len() {
		// The flags of a row without a file are the history's.
		if r := m.t.Row(n); r.ModSeq != 0 && r.State != table.Expunged && (r.Flags|m.modseqs.was[n])&letters != 0 {
			m.modseqs.was[n] = ^r.Flags // differs, whatever it was
			m.unsettle(n)
		}
	}
}

// expected tells whether a row has no file although clients may have been told
// of one: the history has it, or is older than it. m.mu is held.
func (m *Mailbox) expected(n uint32) bool {
	r := m.t.Row(n)
	return r.State == table.Absent && (r.ModSeq != 0 || m.modseqs.begun && r.UID > m.modseqs.accounted)
}
