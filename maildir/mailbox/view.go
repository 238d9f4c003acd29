package mailbox

import (
	"iter"
	"slices"

	"maildird/maildir/filename"
)

// View is one session's view of a mailbox: the table as the client was last
// told of it. It costs memory only for what the client has not been told yet.
// Methods are called by one goroutine at a time, except that the mailbox adds
// news from others.
type View struct {
	m        *Mailbox
	readOnly bool
	notify   func()

	// The rest is guarded by m.mu.
	known    uint32   // the client was told of the rows below
	gone     []uint32 // rows below known that were expunged since, ascending
	flagged  []uint32 // rows below known whose flags changed since, any order, may repeat
	recent   []uint32 // rows that are \Recent in this view, ascending
	keywords bool     // a keyword letter got a name since
	key      bool     // the mailbox got another access key since
	closed   bool
	modseqs  bool   // the client is told mod-sequences
	told     uint64 // all changes up to this mod-sequence were told
}

// Range is an inclusive range of sequence numbers or UIDs, First <= Last.
type Range struct{ First, Last uint32 }

// Message is what a view says of one message at the time of asking.
type Message struct {
	Seq    uint32
	UID    uint32
	Flags  filename.Flags
	Recent bool
	// ModSeq says when it last changed (RFC 7162); 0 in a mailbox without history.
	ModSeq uint64
	row    uint32
}

// UpdateKind says what changed.
type UpdateKind uint8

// The kinds of updates.
const (
	Expunge         UpdateKind = iota + 1 // Seq is gone, later ones count one less
	Flags                                 // Message has new flags
	Exists                                // the mailbox has Count messages now
	Recent                                // Count of them are \Recent
	KeywordsChanged                       // a keyword letter got a name: tell FLAGS anew
	KeyChanged                            // the mailbox got another access key (RFC 4467)
)

// Update is one thing that the client was not told yet.
type Update struct {
	Kind    UpdateKind
	Seq     uint32  // Expunge, Flags
	UID     uint32  // Expunge, Flags
	Count   uint32  // Exists, Recent
	Message Message // Flags
}

// ReadOnly tells whether changes through this view are refused.
func (v *View) ReadOnly() bool { return v.readOnly }

// Exists returns the number of messages in the view.
func (v *View) Exists() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.exists()
}

func (v *View) exists() uint32 { return v.m.t.before(v.known) + uint32(len(v.gone)) }

// Recent returns how many of them are \Recent in this view.
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
		return v.m.t.row(v.rowAt(n)).uid
	}
	return 0
}

// UID returns the UID of the message with sequence number seq, which the view
// must have.
func (v *View) UID(seq uint32) uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.t.row(v.rowAt(seq)).uid
}

// FirstUnseen returns the sequence number of the first message without \Seen,
// 0 if there is none.
func (v *View) FirstUnseen() uint32 {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	if n, ok := v.m.t.firstUnseen(); ok && n < v.known {
		return v.seq(n)
	}
	return 0
}

// UIDNext returns the UID that the next new message gets at least.
func (v *View) UIDNext() uint32 { return v.m.UIDNext() }

// UIDValidity returns the mailbox's UIDVALIDITY.
func (v *View) UIDValidity() uint32 { return v.m.UIDValidity() }

// KeywordName gives the name of keyword letter 'a'+index; false for none.
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

// KeywordIndex finds the letter of a keyword, whatever its case.
func (v *View) KeywordIndex(name string) (int, bool) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.names.index(name)
}

// KeywordsFull tells that no further keyword fits in this mailbox.
func (v *View) KeywordsFull() bool {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.names.full()
}

// NewKeywords tells, once, that a keyword letter got a name since the last
// Updates.
func (v *View) NewKeywords() bool {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	was := v.keywords
	v.keywords = false
	return was
}

// seq returns the sequence number of a row that is in the view.
func (v *View) seq(n uint32) uint32 {
	i, _ := slices.BinarySearch(v.gone, n)
	return v.m.t.before(n) + uint32(i) + 1
}

// rowAt returns the row with sequence number seq, 1 <= seq <= exists().
func (v *View) rowAt(seq uint32) uint32 {
	k := seq - 1
	// i of the rows that are gone come before it.
	i, found := slices.BinarySearchFunc(v.gone, k, func(n, k uint32) int {
		j, _ := slices.BinarySearch(v.gone, n)
		return int(int64(v.m.t.before(n)) + int64(j) - int64(k))
	})
	if found {
		return v.gone[i]
	}
	n, _ := v.m.t.nth(k - uint32(i))
	return n
}

// has tells whether the view shows the row.
func (v *View) has(n uint32) bool {
	if n >= v.known {
		return false
	}
	return v.m.t.row(n).state == present || v.lost(n)
}

// lost tells whether the message of a row is gone and the client was not told.
func (v *View) lost(n uint32) bool {
	_, ok := slices.BinarySearch(v.gone, n)
	return ok
}

func (v *View) message(n, seq uint32) Message { return v.messageOf(v.m.t.row(n), n, seq) }

func (v *View) messageOf(r *row, n, seq uint32) Message {
	m := Message{Seq: seq, UID: r.uid, Flags: r.flags, ModSeq: r.modseq, row: n}
	if len(v.recent) > 0 {
		_, m.Recent = slices.BinarySearch(v.recent, n)
	}
	return m
}

// chunkMessages is how many messages Chunks gives at most at once.
const chunkMessages = 128

// Messages gives the messages of the ranges, ascending and each once. uid says
// whether the ranges are of UIDs or of sequence numbers; numbers that the view
// does not have are passed over. No lock is held while the caller works on a
// message.
func (v *View) Messages(ranges []Range, uid bool) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for chunk := range v.Chunks(ranges, uid) {
			for _, m := range chunk {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Chunks is Messages for who takes some of them at once, from one up to a few
// hundred. A chunk is the caller's until it asks for the next one.
func (v *View) Chunks(ranges []Range, uid bool) iter.Seq[[]Message] {
	return func(yield func([]Message) bool) {
		var buf [chunkMessages]Message
		n := 0
		for _, r := range merged(ranges) {
			v.m.mu.RLock()
			for row, end := v.rowRange(r, uid); row < end; {
				k := 0
				k, row = v.fill(buf[n:], row, end)
				if n += k; n < len(buf) {
					continue
				}
				v.m.mu.RUnlock()
				if !yield(buf[:]) {
					return
				}
				n = 0
				v.m.mu.RLock()
			}
			v.m.mu.RUnlock()
		}
		if n > 0 {
			yield(buf[:n])
		}
	}
}

// rowRange turns a range into rows from, up to but not including, to.
func (v *View) rowRange(r Range, uid bool) (from, to uint32) {
	if uid {
		to = v.known
		if r.Last < ^uint32(0) {
			to = min(to, v.m.t.firstFrom(r.Last+1))
		}
		return v.m.t.firstFrom(r.First), to
	}
	last := min(r.Last, v.exists())
	if r.First == 0 || r.First > last {
		return 0, 0
	}
	return v.rowAt(r.First), v.rowAt(last) + 1
}

// fill puts messages from row on into buf and returns how many, and the row to
// go on with.
func (v *View) fill(buf []Message, row, end uint32) (n int, next uint32) {
	seq := uint32(0)
	for ; row < end && n < len(buf); row++ {
		r := v.m.t.row(row)
		if row >= v.known || r.state != present && !v.lost(row) {
			continue
		}
		if n == 0 {
			seq = v.seq(row)
		}
		buf[n] = v.messageOf(r, row, seq)
		n++
		seq++
	}
	return n, row
}

// merged sorts ranges and joins those that overlap or touch.
func merged(ranges []Range) []Range {
	if len(ranges) < 2 {
		return ranges
	}
	out := slices.Clone(ranges)
	slices.SortFunc(out, func(a, b Range) int {
		if a.First < b.First {
			return -1
		} else if a.First > b.First {
			return 1
		}
		return 0
	})
	n := 0
	for _, r := range out[1:] {
		if last := &out[n]; r.First <= last.Last || r.First == last.Last+1 {
			last.Last = max(last.Last, r.Last)
		} else {
			n++
			out[n] = r
		}
	}
	return out[:n+1]
}

// Hold is what Updates is not to tell now.
type Hold uint8

// What can be held back.
const (
	HoldExpunges Hold = 1 << iota // while the client may use sequence numbers that it sent already
	HoldArrivals                  // the view does not grow
	HoldFlags

	HoldAll = HoldExpunges | HoldArrivals | HoldFlags
)

// Updates tells what the client does not know yet, in the order in which it is
// to hear of it, and moves the view. What is held back is kept for later.
func (v *View) Updates(hold Hold, emit func(Update)) {
	for _, u := range v.collect(hold) {
		emit(u)
	}
}

// Held tells whether messages of the view are gone, or got other flags, and the
// client was not told.
func (v *View) Held() bool {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return len(v.gone) > 0 || len(v.flagged) > 0
}

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
			out = append(out, Update{Kind: Expunge, Seq: m.t.before(n) + 1, UID: m.t.row(n).uid})
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
		switch r := m.t.row(n); {
		case r.state != present:
		case hold&HoldFlags != 0:
			later, current = append(later, n), false
		case v.modseqs && r.unsettled:
			later = append(later, n) // its mod-sequence is not known yet
		default:
			msg := v.message(n, v.seq(n))
			out = append(out, Update{Kind: Flags, Seq: msg.Seq, UID: msg.UID, Message: msg})
		}
	}
	v.flagged = later
	if current && len(v.gone) == 0 && m.t.count == m.t.before(v.known) {
		v.told = m.modseqs.highest // what is not settled yet will be above
	}
	return out
}

// deleteAt takes what is at the indexes out of s, each part of which moves once.
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

// grow takes the rows into the view that came since, and says whether there
// are any. A view that may change the mailbox claims the recent ones.
func (v *View) grow() bool {
	t := v.m.t
	if !v.grows() {
		return false
	}
	last, _ := t.nth(t.count - 1)
	for n := v.known; n <= last; n++ {
		if t.pages[n/pageRows].recent == 0 {
			n |= pageRows - 1
			continue
		}
		if r := t.row(n); r.state != present || !r.recent {
			continue
		}
		v.recent = append(v.recent, n)
		if !v.readOnly {
			t.setRecent(n, false)
		}
	}
	v.known = last + 1
	return true
}

func (v *View) grows() bool {
	t := v.m.t
	return t.count != t.before(v.known) && !(v.modseqs && len(v.m.modseqs.unsettled) > 0)
}

// Close ends the view.
func (v *View) Close() {
	v.m.mu.Lock()
	v.closed = true
	if v.modseqs {
		v.m.modseqs.views--
	}
	delete(v.m.views, v)
	v.m.mu.Unlock()
}
