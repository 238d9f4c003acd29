package mailbox

import (
	"context"
	"slices"

	"maildird/maildir/mailbox/table"
)

// View is one session's view of a mailbox: the table as the client was last told of it. It
// uses memory only for what the client has not been told yet. Its methods must be called by
// one goroutine at a time, except that helpers of that goroutine may meanwhile call those that
// concern a single message, such as Open, Size and Keep; the mailbox adds news from other
// goroutines.
type View struct {
	m        *Mailbox
	ctx      context.Context // when it ends, reading messages no longer waits
	readOnly bool
	notify   func()

	// The rest is guarded by m.mu.
	known    uint32   // the client was told of the rows below this one
	gone     []uint32 // rows below known that were expunged since, ascending
	flagged  []uint32 // rows below known whose flags changed since, any order, may repeat
	recent   []uint32 // rows that are \Recent in this view, ascending
	keywords bool     // a keyword letter got a name since
	key      bool     // the mailbox got a new access key since
	modseqs  bool     // the client is told mod-sequences
	told     uint64   // the client was told of all changes up to this mod-sequence
}

// ReadOnly reports whether changes through this view are refused.
func (v *View) ReadOnly() bool { return v.readOnly }

// Exists returns the number of messages in the view.
func (v *View) Exists() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.exists()
}

func (v *View) exists() uint32 { return v.m.t.Before(v.known) + uint32(len(v.gone)) }

// Recent returns how many messages are \Recent in this view.
func (v *View) Recent() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return uint32(len(v.recent))
}

// LastUID returns the highest UID in the view, 0 if it is empty.
func (v *View) LastUID() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	if n := v.exists(); n > 0 {
		return v.m.t.Row(v.rowAt(n)).UID
	}
	return 0
}

// UID returns the UID of the message with sequence number seq, which must be in the view.
func (v *View) UID(seq uint32) uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.t.Row(v.rowAt(seq)).UID
}

// FirstUnseen returns the sequence number of the first message without \Seen, 0 if there is
// none.
func (v *View) FirstUnseen() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	if n, ok := v.m.t.FirstUnseen(); ok && n < v.known {
		return v.seq(n)
	}
	return 0
}

// UIDNext returns a lower bound for the UID of the next new message.
func (v *View) UIDNext() uint32 { return v.m.UIDNext() }

// UIDValidity returns the mailbox's UIDVALIDITY.
func (v *View) UIDValidity() uint32 { return v.m.UIDValidity() }

// KeywordName returns the name of keyword letter 'a'+index; false if it has none.
func (v *View) KeywordName(index int) (string, bool) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	name := v.m.names[index]
	return name, name != ""
}

// KeywordNames returns the names of all keyword letters, in letter order.
func (v *View) KeywordNames() []string {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	var names []string
	for _, name := range v.m.names {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// KeywordIndex returns the index of a keyword's letter. Case is ignored.
func (v *View) KeywordIndex(name string) (int, bool) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.names.index(name)
}

// KeywordsFull reports whether no further keyword fits in this mailbox.
func (v *View) KeywordsFull() bool {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.names.full()
}

// seq returns the sequence number of a row that is in the view.
func (v *View) seq(n uint32) uint32 {
	i, _ := slices.BinarySearch(v.gone, n)
	return v.m.t.Before(n) + uint32(i) + 1
}

// rowAt returns the row with sequence number seq, 1 <= seq <= exists().
func (v *View) rowAt(seq uint32) uint32 {
	k := seq - 1
	// Of the rows that are gone, i come before it.
	i, found := slices.BinarySearchFunc(v.gone, k, func(n, k uint32) int {
		j, _ := slices.BinarySearch(v.gone, n)
		return int(int64(v.m.t.Before(n)) + int64(j) - int64(k))
	})
	if found {
		return v.gone[i]
	}
	n, _ := v.m.t.Nth(k - uint32(i))
	return n
}

// has reports whether the view shows the row.
func (v *View) has(n uint32) bool {
	if n >= v.known {
		return false
	}
	return v.m.t.Row(n).State == table.Present || v.lost(n)
}

// lost reports whether the message of a row is gone and the client has not been told.
func (v *View) lost(n uint32) bool {
	_, ok := slices.BinarySearch(v.gone, n)
	return ok
}

// Close ends the view.
func (v *View) Close() {
	v.m.mu.Lock()
	if v.modseqs {
		v.m.modseqs.views--
	}
	delete(v.m.views, v)
	v.m.mu.Unlock()
}
