package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// qresyncExtension is QRESYNC (RFC 7162 section 3.2).
func qresyncExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapQResync},
		enable: []enabler{{name: imap.CapQResync, on: func(s *session) bool {
			was := s.qresync
			s.qresync = true
			return !was
		}, then: (*session).enableModSeqs}},
		selectParams: words[selectRequest]{"QRESYNC": func(lx *lexer, req *selectRequest) {
			q := lx.resyncArguments()
			req.checks = append(req.checks, (*session).needQResync, func(s *session) error {
				if s.uidOnly && q.seqs.Ranges != nil {
					return errUIDRequired()
				}
				return nil
			})
			req.opened = append(req.opened, func(s *session) error { return s.resync(&q) })
		}},
		fetchParams: words[fetchItems]{"VANISHED": func(_ *lexer, items *fetchItems) {
			items.begin = append(items.begin, func(s *session, set syntax.NumSet) error {
				return s.fetchVanished(items, set)
			})
		}},
	}
}

// needQResync returns an error unless QRESYNC is enabled, for what RFC 7162 allows only then.
func (s *session) needQResync() error {
	if !s.qresync {
		return bad("Please ENABLE QRESYNC first.")
	}
	return nil
}

// resyncRequest holds the arguments of the SELECT parameter QRESYNC.
type resyncRequest struct {
	validity uint32
	since    uint64
	known    syntax.NumSet // no ranges: all UIDs
	// Sequence numbers and UIDs of messages that the client knows, in the same order.
	seqs, uids syntax.NumSet
}

// resyncArguments takes " (uidvalidity modseq known-uids (seqs uids))". Beyond the grammar, the
// first two may be 0, which clients send for what they do not know: no mailbox has this
// UIDVALIDITY, and every message has changed since this mod-sequence.
func (lx *lexer) resyncArguments() (q resyncRequest) {
	lx.SP()
	lx.Enter()
	q.validity = lx.Number()
	lx.SP()
	q.since = lx.Number64()
	if lx.More() && lx.Peek() != ')' && lx.Peek() != '(' {
		q.known = lx.plainSet()
		lx.More()
	}
	if lx.Peek() == '(' {
		lx.Enter()
		q.seqs = lx.plainSet()
		lx.SP()
		q.uids = lx.plainSet()
		lx.Leave()
	}
	lx.Leave()
	return q
}

// plainSet takes a set without "*" and "$".
func (lx *lexer) plainSet() syntax.NumSet {
	set := lx.NumSet()
	if set.Saved {
		lx.Fail("$ is not allowed here.")
	}
	for _, r := range set.Ranges {
		if r.First == 0 || r.Last == 0 {
			lx.Fail("* is not allowed here.")
		}
	}
	return set
}

// resync reports what has happened in the mailbox since the client last knew it (RFC 7162
// section 3.2.5): first what vanished, then what changed.
func (s *session) resync(q *resyncRequest) error {
	view := s.sel.view
	if s.sel.modseq.none || q.validity != view.UIDValidity() {
		return nil
	}
	since, err := view.Since(s.ctx, q.since)
	if err != nil {
		return err
	}
	known := []mailbox.Range{{First: 1, Last: ^uint32(0)}}
	if q.known.Ranges != nil {
		known = q.known.Resolve(0)
	}
	if err := s.vanishedEarlier(above(known, s.lastMatch(q)), since); err != nil {
		return err
	}
	for m := range view.Messages(known, true) {
		if m.ModSeq <= since {
			continue
		}
		if err := s.interrupted(); err != nil {
			return err
		}
		s.flagsResponse(m)
	}
	return nil
}

// lastMatch returns the highest UID of the client's sample whose message still has the sequence
// number that the client knows. The client already knows which UIDs below it are missing (RFC
// 7162 section 3.2.5.2). It returns 0 if there is none.
func (s *session) lastMatch(q *resyncRequest) (last uint32) {
	exists := s.sel.view.Exists()
	uids := numbers{ranges: q.uids.Resolve(0)}
	for seqs := (numbers{ranges: q.seqs.Resolve(0)}); ; {
		seq, uid := seqs.next(), uids.next()
		if seq == 0 || uid == 0 || seq > exists || uid <= last {
			return last
		}
		if s.sel.view.UID(seq) == uid {
			last = uid
		}
	}
}

// numbers iterates over the numbers of ranges, as long as they ascend.
type numbers struct {
	ranges []mailbox.Range
	last   uint32
}

// next returns the next number, or 0 after the last one.
func (n *numbers) next() uint32 {
	for len(n.ranges) > 0 {
		r := n.ranges[0]
		switch {
		case n.last < r.First:
			n.last = r.First
			return n.last
		case n.last < r.Last && n.last >= r.First:
			n.last++
			return n.last
		case n.last > r.Last:
			n.ranges = nil
			return 0
		}
		n.ranges = n.ranges[1:]
	}
	return 0
}

// above returns the part of the ranges that lies above a UID.
func above(ranges []mailbox.Range, uid uint32) []mailbox.Range {
	out := make([]mailbox.Range, 0, len(ranges))
	for _, r := range ranges {
		if r.Last > uid {
			out = append(out, mailbox.Range{First: max(r.First, uid+1), Last: r.Last})
		}
	}
	return out
}

// fetchVanished implements the modifier VANISHED of UID FETCH (RFC 7162 section 3.2.6).
func (s *session) fetchVanished(items *fetchItems, set syntax.NumSet) error {
	switch {
	case !items.byUID:
		return bad("VANISHED is for UID FETCH only.")
	case items.changedSince == nil:
		return bad("VANISHED needs CHANGEDSINCE.")
	}
	if err := s.needQResync(); err != nil {
		return err
	}
	if err := s.needModSeqs(); err != nil {
		return err
	}
	ranges := s.sel.saved
	if !set.Saved {
		// "*" is the highest UID that the client may know.
		ranges = set.Resolve(max(s.sel.view.UIDNext(), 2) - 1)
	}
	return s.vanishedEarlier(ranges, *items.changedSince)
}

// vanishedEarlier writes VANISHED (EARLIER).
func (s *session) vanishedEarlier(ranges []mailbox.Range, since uint64) error {
	gone, err := s.sel.view.Vanished(s.ctx, ranges, since)
	if err != nil || len(gone) == 0 {
		return err
	}
	w, sep := s.w, byte(' ')
	w.Raw("* VANISHED (EARLIER)")
	for _, r := range gone {
		w.Byte(sep)
		w.Number(uint64(r.First))
		if r.Last > r.First {
			w.Byte(':')
			w.Number(uint64(r.Last))
		}
		sep = ','
	}
	w.CRLF()
	return nil
}

// expunged reports that a message was expunged, with QRESYNC or UIDONLY at the
// next flushVanished.
func (s *session) expunged(u mailbox.Update) {
	if (!s.qresync || s.sel.modseq.none) && !s.uidOnly {
		s.w.count(u.Seq, " EXPUNGE\r\n")
		return
	}
	s.sel.modseq.gone = append(s.sel.modseq.gone, u.UID)
}

// flushVanished writes VANISHED for the UIDs that expunged has collected.
func (s *session) flushVanished() {
	c := &s.sel.modseq
	if len(c.gone) == 0 {
		return
	}
	s.w.Raw("* VANISHED ")
	s.w.RawBytes(syntax.AppendSet(nil, c.gone))
	s.w.CRLF()
	c.gone, c.untold = nil, true
}

// correctModSeq returns a response code that gives the client the right HIGHESTMODSEQ, or "" if
// the copy that the client computes from the responses misses no change. It is called after all
// other untagged responses (RFC 7162 sections 3.2 and 6).
func (s *session) correctModSeq() string {
	if s.sel == nil || !s.tellsModSeqs() {
		return ""
	}
	c := &s.sel.modseq
	known := max(c.known, c.seen)
	if c.code != 0 {
		known = c.code
	}
	told := s.sel.view.HighestModSeq()
	wrong := s.qresync && (known > told || c.untold && known < told)
	*c = clientModSeq{known: known}
	if !wrong {
		return ""
	}
	c.known = told
	code := s.highestModSeq(told)
	c.code = 0
	return code
}
