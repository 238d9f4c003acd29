package mailbox

import (
	"context"
	"fmt"

	"maildird/maildir/dotlock"
	"maildird/maildir/history"
)

// EnableModSeq makes the view report mod-sequences to its client from now on. ok is false
// if the mailbox cannot keep them (RFC 7162 section 3.1.2.2).
func (v *View) EnableModSeq(ctx context.Context) (ok bool, err error) {
	m := v.m
	if _, err = m.settled(ctx); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok = m.modseqs.kept; ok && !v.modseqs {
		v.modseqs = true
		m.modseqs.views++
	}
	return ok, nil
}

// awaitsModSeqs reports whether the view holds changes back until they have a mod-sequence.
// In a mailbox that cannot be written, they get none. m.mu is held.
func (v *View) awaitsModSeqs() bool { return v.modseqs && !v.m.unwritable }

// TellModSeq returns HighestModSeq for a client that is told no other mod-sequences but may
// remember this one; 0 if the mailbox cannot keep mod-sequences. The value has to be up to
// date: Thunderbird does not fetch flags if it already has this value.
func (v *View) TellModSeq(ctx context.Context) (uint64, error) {
	if _, err := v.m.settled(ctx); err != nil {
		return 0, err
	}
	if !v.keepsModSeqs() {
		return 0, nil
	}
	return v.HighestModSeq(), nil
}

// keepsModSeqs reports whether the mailbox keeps mod-sequences.
func (v *View) keepsModSeqs() bool {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.modseqs.kept
}

// HighestModSeq returns the mod-sequence up to which the client has been told all changes.
func (v *View) HighestModSeq() uint64 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.told
}

// HighestModSeq returns the mailbox's highest mod-sequence, 0 if it keeps none.
func (m *Mailbox) HighestModSeq(ctx context.Context) (uint64, error) {
	if err := m.Poll(ctx); err != nil {
		return 0, err
	}
	return m.settled(ctx)
}

// RaiseModSeq gives the mailbox a new highest mod-sequence, for a change of something other
// than its messages (RFC 7162 section 3.2: METADATA).
func (m *Mailbox) RaiseModSeq(ctx context.Context) error {
	return m.change(ctx, func(*dotlock.Lock) error {
		if _, err := m.readHistory(); err != nil {
			return err
		}
		if err := m.hist.Add(history.Frame{ModSeq: m.hist.Next()}); err != nil {
			return fmt.Errorf("change history of %s: %w", m.Path(), err)
		}
		return nil
	})
}

// Since returns the mod-sequence that a client knows, or 0, the one after which everything
// has changed, if the history does not have all that the client may have been told.
func (v *View) Since(ctx context.Context, modseq uint64) (uint64, error) {
	if err := v.m.acquire(ctx); err != nil {
		return 0, err
	}
	defer v.m.release()
	if v.m.unwritable || !v.m.hist.Knows(modseq) {
		return 0, nil
	}
	return modseq, nil
}

// Vanished returns, ascending, the UIDs in the ranges that the view does not have: those of
// messages that were removed after the mod-sequence since or, if it is not known which these
// are, all of them (RFC 7162 section 3.2.6).
func (v *View) Vanished(ctx context.Context, ranges []Range, since uint64) ([]Range, error) {
	m := v.m
	if err := m.acquire(ctx); err != nil {
		return nil, err
	}
	runs, exact := m.hist.GoneSince(since)
	m.release()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !exact {
		runs = nil
		if last := m.head.last(); last > 0 {
			runs = []history.Run{{First: 1, Last: last}}
		}
	}
	var out []Range
	put := func(first, last uint32) {
		if first > last {
			return
		}
		if n := len(out); n > 0 && out[n-1].Last+1 == first {
			out[n-1].Last = last
		} else {
			out = append(out, Range{first, last})
		}
	}
	ranges = merged(ranges)
	i := 0
	for _, run := range merged(runs) {
		for ; i < len(ranges) && ranges[i].First <= run.Last; i++ {
			first, last := max(run.First, ranges[i].First), min(run.Last, ranges[i].Last)
			for n := m.t.FirstFrom(first); first <= last && n < m.t.Len() && m.t.Row(n).UID <= last; n++ {
				if v.has(n) {
					put(first, m.t.Row(n).UID-1)
					first = m.t.Row(n).UID + 1
				}
			}
			put(first, last)
			if ranges[i].Last > run.Last {
				break // the range may continue in the next run
			}
		}
	}
	if m.t.Broken() { // messages seem gone that are not, and a client forgets them at once
		return nil, ErrReplaced
	}
	return out, nil
}
