package mailbox

import (
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// tellFlags notes for all views except knows that a row's flags changed. m.mu is held.
func (m *Mailbox) tellFlags(n uint32, knows *View) {
	if _, open := m.views[knows]; open && len(m.views) == 1 {
		return
	}
	for v := range m.views {
		if v != knows && n < v.known {
			v.flag(n)
		}
	}
}

// flag notes that the client has to be told a row's flags. m.mu is held.
func (v *View) flag(n uint32) {
	v.flagged = append(v.flagged, n)
	// The list of a view that is not read for long must not grow without bound.
	if len(v.flagged) > 1024 && len(v.flagged) > 2*int(v.known) {
		slices.Sort(v.flagged)
		v.flagged = slices.Clip(slices.Compact(v.flagged))
	}
}

// tellGone notes for all views that rows, which ascend, were expunged. m.mu is held.
func (m *Mailbox) tellGone(rows []uint32) {
	for v := range m.views {
		i, _ := slices.BinarySearch(rows, v.known)
		if i > 0 {
			v.gone = append(v.gone, rows[:i]...)
			slices.Sort(v.gone)
		}
	}
}

// TellAccessKey tells all views that the mailbox has a new access key.
func (m *Mailbox) TellAccessKey() {
	m.mu.Lock()
	for v := range m.views {
		v.key = true
	}
	m.mu.Unlock()
	m.wakeThoseWithNews()
}

// news reports whether Updates has something to report. m.mu is held.
func (v *View) news() bool {
	return v.keywords || v.key || len(v.gone) > 0 || v.grows() ||
		slices.ContainsFunc(v.flagged, func(n uint32) bool {
			return v.m.t.Row(n).State == table.Present && !(v.awaitsModSeqs() && v.m.t.Row(n).Unsettled)
		})
}

// wake calls the notify functions of all views. m.mu is not held.
func (m *Mailbox) wake() { m.wakeIf(func(*View) bool { return true }) }

// wakeThoseWithNews wakes the sessions that have something to report. A session that looks
// at the files whenever it is woken thus comes to rest once it has reported everything.
func (m *Mailbox) wakeThoseWithNews() {
	m.wakeIf(func(v *View) bool { return m.replaced || v.news() })
}

func (m *Mailbox) wakeIf(some func(*View) bool) {
	m.mu.RLock()
	calls := make([]func(), 0, len(m.views))
	for v := range m.views {
		if v.notify != nil && some(v) {
			calls = append(calls, v.notify)
		}
	}
	m.mu.RUnlock()
	for _, call := range calls {
		call()
	}
}

// flagsChanged notes that the flags of a row were just changed, see modseqs. m.mu is held.
func (m *Mailbox) flagsChanged(n uint32, before filename.Flags) {
	m.modseqs.flagsChanged(n, before, m.unaware())
}

// unaware reports whether there is a view that is shown flags before they have a
// mod-sequence. m.mu is held.
func (m *Mailbox) unaware() bool { return m.unwritable || m.modseqs.views < len(m.views) }

// shown notes that a client is shown messages, see modseqs. m.mu is not held.
func (m *Mailbox) shown(msgs []Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.modseqs.show(msgs)
}
