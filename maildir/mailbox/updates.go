package mailbox

import (
	"slices"

	"maildird/maildir/mailbox/table"
)

// UpdateKind is what kind of change an Update reports.
type UpdateKind uint8

// The kinds of updates.
const (
	Expunge         UpdateKind = iota + 1 // Seq is gone, and later sequence numbers decrease by one
	Flags                                 // Message has new flags
	Exists                                // the mailbox now has Count messages
	Recent                                // Count of them are \Recent
	KeywordsChanged                       // a keyword letter got a name: send FLAGS again
	KeyChanged                            // the mailbox has a new access key (RFC 4467)
)

// Update is one change that the client has not been told of yet.
type Update struct {
	Kind    UpdateKind
	Seq     uint32  // Expunge, Flags
	UID     uint32  // Expunge, Flags
	Count   uint32  // Exists, Recent
	Message Message // Flags
}

// Hold is a set of what Updates must not report now.
type Hold uint8

// What can be held back.
const (
	HoldExpunges Hold = 1 << iota // while the client may use sequence numbers that it has already sent
	HoldArrivals                  // the view does not grow
	HoldFlags

	HoldAll = HoldExpunges | HoldArrivals | HoldFlags
)

// Updates calls emit for everything that the client has not been told yet, in the order in
// which the client has to be told, and advances the view. What is held back is kept for
// later.
func (v *View) Updates(hold Hold, emit func(Update)) {
	for _, u := range v.collect(hold) {
		emit(u)
	}
}

// collect does the work of Updates with m.mu held; nothing is emitted meanwhile.
func (v *View) collect(hold Hold) []Update {
	m := v.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Update
	if v.keywords && hold&HoldFlags == 0 {
		v.keywords = false
		out = append(out, Update{Kind: KeywordsChanged})
	}
	if v.key {
		v.key = false
		out = append(out, Update{Kind: KeyChanged})
	}
	recent := len(v.recent)
	if hold&HoldExpunges == 0 {
		var lost []int
		for _, n := range v.gone {
			out = append(out, Update{Kind: Expunge, Seq: m.t.Before(n) + 1, UID: m.t.Row(n).UID})
			if i, ok := slices.BinarySearch(v.recent, n); ok {
				lost = append(lost, i)
			}
		}
		v.gone, v.recent = nil, deleteAt(v.recent, lost)
	}
	if hold&HoldArrivals == 0 && v.grow() {
		out = append(out, Update{Kind: Exists, Count: v.exists()})
		recent = -1
	}
	if len(v.recent) != recent {
		out = append(out, Update{Kind: Recent, Count: uint32(len(v.recent))})
	}
	slices.Sort(v.flagged)
	var later []uint32
	current := true
	for _, n := range slices.Compact(v.flagged) {
		switch r := m.t.Row(n); {
		case r.State != table.Present:
		case hold&HoldFlags != 0:
			later, current = append(later, n), false
		case v.awaitsModSeqs() && r.Unsettled:
			later = append(later, n) // its mod-sequence is not known yet
		default:
			msg := v.message(n, v.seq(n))
			out = append(out, Update{Kind: Flags, Seq: msg.Seq, UID: msg.UID, Message: msg})
		}
	}
	v.flagged = later
	if current && len(v.gone) == 0 && m.t.Count() == m.t.Before(v.known) {
		v.told = m.modseqs.highest // what is not settled yet will be higher
	}
	return out
}

// deleteAt removes the elements at the given indexes from s, moving each element at most
// once.
func deleteAt(s []uint32, indexes []int) []uint32 {
	if len(indexes) == 0 {
		return s
	}
	slices.Sort(indexes)
	indexes = append(slices.Compact(indexes), len(s))
	kept := s[:indexes[0]]
	for k, i := range indexes[:len(indexes)-1] {
		kept = append(kept, s[i+1:indexes[k+1]]...)
	}
	return kept
}

// grow adds the rows that came since to the view, and reports whether there are any. A view
// that may change the mailbox claims the recent ones.
func (v *View) grow() bool {
	t := v.m.t
	if !v.grows() {
		return false
	}
	last, _ := t.Nth(t.Count() - 1)
	for n := v.known; n <= last; n++ {
		if t.PageCounts(n).Recent == 0 {
			n |= table.PageRows - 1
			continue
		}
		if r := t.Row(n); r.State != table.Present || !r.Recent {
			continue
		}
		v.recent = append(v.recent, n)
		if !v.readOnly {
			t.SetRecent(n, false)
		}
	}
	v.known = last + 1
	return true
}

func (v *View) grows() bool {
	t := v.m.t
	return t.Count() != t.Before(v.known) && !(v.awaitsModSeqs() && len(v.m.modseqs.unsettled) > 0)
}

// NewKeywords reports whether a keyword letter got a name since the last Updates, and
// resets that.
func (v *View) NewKeywords() bool {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	was := v.keywords
	v.keywords = false
	return was
}
