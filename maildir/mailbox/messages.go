package mailbox

import (
	"cmp"
	"iter"
	"slices"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Range is an inclusive range of sequence numbers or UIDs, First <= Last.
type Range struct{ First, Last uint32 }

// Message is the state of one message in a view at the time of the call.
type Message struct {
	Seq    uint32
	UID    uint32
	Flags  filename.Flags
	Recent bool
	// ModSeq is the mod-sequence of its last change (RFC 7162); 0 if it has none yet, or the
	// mailbox has no history.
	ModSeq uint64
	row    uint32
}

func (v *View) message(n, seq uint32) Message { return v.messageOf(v.m.t.Row(n), n, seq) }

func (v *View) messageOf(r *table.Row, n, seq uint32) Message {
	m := Message{Seq: seq, UID: r.UID, Flags: r.Flags, ModSeq: r.ModSeq, row: n}
	if len(v.recent) > 0 {
		_, m.Recent = slices.BinarySearch(v.recent, n)
	}
	return m
}

// chunkMessages is the maximum number of messages in a chunk.
const chunkMessages = 128

// Messages returns the messages in the ranges, in ascending order and each once. uid tells
// whether the ranges are of UIDs or of sequence numbers; numbers that the view does not
// have are skipped. No lock is held while the caller handles a message.
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

// Chunks is like Messages, but returns them in slices of one to chunkMessages messages. A
// slice is valid until the next iteration.
func (v *View) Chunks(ranges []Range, uid bool) iter.Seq[[]Message] {
	return func(yield func([]Message) bool) {
		var buf [chunkMessages]Message
		n := 0
		give := func(n int, unsettled bool) bool {
			if unsettled {
				v.m.shown(buf[:n])
			}
			return yield(buf[:n])
		}
		unsettled := false
		for _, r := range merged(ranges) {
			v.m.mu.RLock()
			for row, end := v.rowRange(r, uid); row < end; {
				k := 0
				k, row = v.fill(buf[n:], row, end, &unsettled)
				if n += k; n < len(buf) {
					continue
				}
				v.m.mu.RUnlock()
				if !give(n, unsettled) {
					return
				}
				n, unsettled = 0, false
				v.m.mu.RLock()
			}
			v.m.mu.RUnlock()
		}
		if n > 0 {
			give(n, unsettled)
		}
	}
}

// rowRange turns a range into the rows from, up to but not including, to.
func (v *View) rowRange(r Range, uid bool) (from, to uint32) {
	if uid {
		to = v.known
		if r.Last < ^uint32(0) {
			to = min(to, v.m.t.FirstFrom(r.Last+1))
		}
		return v.m.t.FirstFrom(r.First), to
	}
	last := min(r.Last, v.exists())
	if r.First == 0 || r.First > last {
		return 0, 0
	}
	return v.rowAt(r.First), v.rowAt(last) + 1
}

// fill stores messages from row on in buf and returns their number and the row to continue
// with. It sets unsettled if one of them may have flags that are not yet reflected in its
// mod-sequence.
func (v *View) fill(buf []Message, row, end uint32, unsettled *bool) (n int, next uint32) {
	seq := uint32(0)
	for ; row < end && n < len(buf); row++ {
		r := v.m.t.Row(row)
		if row >= v.known || r.State != table.Present && !v.lost(row) {
			continue
		}
		if n == 0 {
			seq = v.seq(row)
		}
		buf[n] = v.messageOf(r, row, seq)
		*unsettled = *unsettled || r.Unsettled
		n++
		seq++
	}
	return n, row
}

// merged sorts ranges, or runs of the history, and joins those that overlap or are adjacent.
func merged[R ~struct{ First, Last uint32 }](ranges []R) []R {
	if len(ranges) < 2 {
		return ranges
	}
	out := slices.Clone(ranges)
	slices.SortFunc(out, func(a, b R) int { return cmp.Compare(Range(a).First, Range(b).First) })
	n := 0
	for _, r := range out[1:] {
		last, next := Range(out[n]), Range(r)
		if next.First <= last.Last || next.First == last.Last+1 {
			last.Last = max(last.Last, next.Last)
			out[n] = R(last)
		} else {
			n++
			out[n] = r
		}
	}
	return out[:n+1]
}
