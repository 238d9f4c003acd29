package mailbox

import (
	"slices"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// modseqs is how the table differs from the history (package history). A change is settled
// once it has a mod-sequence and has been written to the journal. Changes made under the
// uidlist's lock are settled before the lock is released. Changes by other programs are
// settled only when a client is to be told mod-sequences, so that they cost nothing for
// clients that do not use them.
//
// Mailbox.mu guards modseqs.
type modseqs struct {
	t *table.Table
	// unsettled are the rows that may differ from the history: new ones, those that are
	// gone, and those whose flags changed. They are those with Row.Unsettled, and some that
	// others have settled since; each occurs once.
	unsettled []uint32
	// was holds the flags that the history has for present rows whose flags differ by now,
	// or flags unlike the current ones for a row that counts as changed whatever it was.
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

func newModseqs(t *table.Table) modseqs {
	return modseqs{t: t, was: map[uint32]filename.Flags{}, strays: map[uint32]struct{}{}}
}

// unsettle notes that a row may differ from the history.
func (s *modseqs) unsettle(n uint32) {
	if r := s.t.Row(n); !r.Unsettled {
		s.t.SetUnsettled(n, true)
		s.unsettled = append(s.unsettled, n)
	}
}

// reserve allocates memory for that many more unsettled rows.
func (s *modseqs) reserve(rows int) { s.unsettled = slices.Grow(s.unsettled, rows) }

// flagsChanged notes that the flags of a row were just changed. before are its previous
// flags or, for a row that had no file, those in the history. shown tells that a client may
// be shown the change before it has a mod-sequence.
func (s *modseqs) flagsChanged(n uint32, before filename.Flags, shown bool) {
	r := s.t.Row(n)
	if r.ModSeq != 0 {
		if r.Flags == before {
			return
		}
		switch was, ok := s.was[n]; {
		case shown:
			s.was[n] = ^r.Flags // it counts even if it is undone
		case !ok:
			s.was[n] = before
		case was == r.Flags:
			delete(s.was, n)
		}
	}
	s.unsettle(n)
}

// countAsChanged notes that a row with a mod-sequence differs from the history whatever its
// flags were, or will be, until it is settled.
func (s *modseqs) countAsChanged(n uint32) {
	s.was[n] = ^s.t.Row(n).Flags
	s.unsettle(n)
}

// took notes that the history has these flags for a present row, and reports whether they
// are its flags.
func (s *modseqs) took(n uint32, flags filename.Flags) (same bool) {
	if s.t.Row(n).Flags == flags {
		delete(s.was, n)
		return true
	}
	s.was[n] = flags
	s.unsettle(n)
	return false
}

// show is called before a client is shown messages, changes of which may have no
// mod-sequence yet. It makes these count even if they are undone: the client then has the new
// flags with the old mod-sequence, and must still be told when it comes back.
func (s *modseqs) show(msgs []Message) {
	for _, msg := range msgs {
		r := s.t.Row(msg.row)
		if r.State != table.Present || r.ModSeq == 0 || r.ModSeq != msg.ModSeq {
			continue
		}
		if _, changed := s.was[msg.row]; changed || r.Flags != msg.Flags {
			s.countAsChanged(msg.row)
		}
	}
}

// showAll does the same for all changes that have no mod-sequence yet, because a view is
// about to show them.
func (s *modseqs) showAll() {
	for n := range s.was {
		s.was[n] = ^s.t.Row(n).Flags
	}
}

// lettersChanged notes that letters stand for other keywords than in the history. The rows
// that have these letters differ from the history, and so do those that have them in the
// history: their files may have, or get back, the flags in the history while the table has
// others.
func (s *modseqs) lettersChanged(letters filename.Flags) {
	for n := range s.t.Len() {
		// The flags of a row without a file are those in the history.
		if r := s.t.Row(n); r.ModSeq != 0 && r.State != table.Expunged && (r.Flags|s.was[n])&letters != 0 {
			s.countAsChanged(n)
		}
	}
}

// expected reports whether a row has no file although clients may have been told of one:
// the history has the row, or is older than the row.
func (s *modseqs) expected(n uint32) bool {
	r := s.t.Row(n)
	return r.State == table.Absent && (r.ModSeq != 0 || s.begun && r.UID > s.accounted)
}

// lost notes that the history starts anew and has no message of the table.
func (s *modseqs) lost() {
	clear(s.was)
	clear(s.strays)
	for n := range s.t.Len() {
		switch r := s.t.Row(n); {
		case r.State == table.Absent:
			s.t.SetHistory(n, r.Flags, 0)
		case r.State == table.Present && r.ModSeq != 0:
			s.countAsChanged(n)
		case r.State == table.Present:
			s.unsettle(n)
		}
	}
}

// forgetStrays notes that the history knows that UIDs are gone.
func (s *modseqs) forgetStrays(run history.Run) {
	if uint64(run.Last)-uint64(run.First) < uint64(len(s.strays)) {
		for uid := uint64(run.First); uid <= uint64(run.Last); uid++ {
			delete(s.strays, uint32(uid))
		}
		return
	}
	for uid := range s.strays {
		if uid >= run.First && uid <= run.Last {
			delete(s.strays, uid)
		}
	}
}

// differences returns how the table differs from the history: the messages that changed, the
// UIDs that are gone, and the rows of both, ascending. last is the last UID that was assigned.
func (s *modseqs) differences(last uint32) (changed []history.State, gone []history.Run, rows []uint32) {
	list := slices.Clone(s.unsettled)
	slices.Sort(list)
	gone = s.unaccounted(last)
	changed, rows = make([]history.State, 0, len(list)), make([]uint32, 0, len(list))
	for _, n := range slices.Compact(list) {
		r := s.t.Row(n)
		_, differs := s.was[n]
		switch {
		case !r.Unsettled: // another process already reported it
		case r.State == table.Present && (differs || r.ModSeq == 0):
			changed = append(changed, history.State{UID: r.UID, Flags: r.Flags})
			rows = append(rows, n)
		case r.State == table.Expunged:
			gone = append(gone, history.Run{First: r.UID, Last: r.UID})
			rows = append(rows, n)
		}
	}
	for uid := range s.strays {
		gone = append(gone, history.Run{First: uid, Last: uid})
	}
	return changed, merged(gone), rows
}

// unaccounted returns the UIDs, above those that the history knows of, that were assigned
// to messages which are already gone.
func (s *modseqs) unaccounted(last uint32) (gone []history.Run) {
	next := s.accounted + 1
	for n := s.t.FirstFrom(next); n < s.t.Len(); n++ {
		r := s.t.Row(n)
		if r.State == table.Expunged {
			continue
		}
		if r.UID > next {
			gone = append(gone, history.Run{First: next, Last: r.UID - 1})
		}
		next = r.UID + 1
	}
	if next <= last {
		gone = append(gone, history.Run{First: next, Last: last})
	}
	return gone
}

// settled notes that the history has everything that the table has, and that the given rows
// changed with that mod-sequence.
func (s *modseqs) settled(rows []uint32, modseq uint64) {
	for _, n := range rows {
		s.t.SetHistory(n, 0, modseq)
	}
	for _, n := range s.unsettled {
		s.t.SetUnsettled(n, false)
	}
	s.unsettled = s.unsettled[:0]
	if cap(s.unsettled) > 1<<12 {
		s.unsettled = nil
	}
	clear(s.was)
	clear(s.strays)
}
