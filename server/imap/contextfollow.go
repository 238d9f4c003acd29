package imap

import (
	"slices"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// edit is one pair of ADDTO or REMOVEFROM: adjacent messages that are added or removed. at is
// the position of the first, and 0 for SEARCH.
type edit struct {
	at   int
	uids []uint32
}

// contextChange is a change of a context that is to be reported.
type contextChange struct {
	c       *searchContext
	removed []edit // reported before added
	added   []edit
	came    []uint32          // UIDs of new messages that match, ascending
	numbers map[uint32]uint32 // sequence numbers of the messages in the edits, by UID
}

// has reports whether uid is a new message that matches.
func (change *contextChange) has(uid uint32) bool {
	_, found := slices.BinarySearch(change.came, uid)
	return found
}

// noteChanged notes messages that the client itself changed, for which the view has no updates.
func (s *session) noteChanged(msgs []mailbox.Message) {
	if len(s.sel.contexts) == 0 {
		return
	}
	s.sel.changed = append(s.sel.changed, msgs...)
}

// tellLeaving reports changes of contexts whose messages are being expunged. It is
// called before the EXPUNGE responses, since their sequence numbers are those from
// before (RFC 5267 section 4.3.4).
func (s *session) tellLeaving(news []mailbox.Update) {
	if len(s.sel.contexts) == 0 {
		return
	}
	var uids []uint32
	numbers := map[uint32]uint32{}
	for _, u := range news {
		if u.Kind == mailbox.Expunge {
			numbers[u.UID] = u.Seq + uint32(len(uids)) // plus those that were expunged before it
			uids = append(uids, u.UID)
		}
	}
	if len(uids) == 0 {
		return
	}
	for _, c := range s.sel.contexts {
		s.contextResponse(&contextChange{c: c, removed: c.remove(uids), numbers: numbers})
	}
}

// follow finds and reports changes of the contexts. With grew there are new messages, those
// with UIDs above last; what is to be fetched of them is sent first.
func (s *session) follow(news []mailbox.Update, last uint32, grew bool) error {
	var changes []contextChange
	if len(s.sel.contexts) > 0 {
		touched := map[uint32]mailbox.Message{}
		for _, m := range s.sel.changed {
			touched[m.UID] = m
		}
		s.sel.changed = nil
		for _, u := range news {
			if u.Kind == mailbox.Flags {
				touched[u.UID] = u.Message
			}
		}
		after := last
		if !grew {
			after = ^uint32(0)
		}
		for _, c := range slices.Clone(s.sel.contexts) {
			change, err := s.contextChange(c, touched, after)
			switch {
			case endsSession(err):
				return err
			case err != nil: // the user's share of memory is used up, see headerReader.holds
				s.w.noUpdate(c.tag, "There is not enough memory to sort.")
				s.sel.contexts = slices.DeleteFunc(s.sel.contexts, func(other *searchContext) bool { return other == c })
			default:
				changes = append(changes, change)
			}
		}
	}
	if grew {
		if err := s.newMessages(last, changes); err != nil {
			return err
		}
	}
	for i := range changes {
		s.contextResponse(&changes[i])
	}
	return nil
}

// contextChange tests the messages that may have joined or left a context: those that were
// touched, with the flags that the client was told, those with UIDs above last, and others only
// if something else that the search depends on has changed.
func (s *session) contextChange(c *searchContext, touched map[uint32]mailbox.Message, last uint32) (contextChange, error) {
	view := s.sel.view
	change := contextChange{c: c, numbers: map[uint32]uint32{}}
	ranges := c.unsettled(view)
	for uid := range touched {
		ranges = append(ranges, mailbox.Range{First: uid, Last: uid})
	}
	if last < ^uint32(0) {
		ranges = append(ranges, mailbox.Range{First: last + 1, Last: ^uint32(0)})
	}
	if len(ranges) == 0 {
		return change, nil
	}
	sr := newSearcher(s, &c.query.program)
	defer sr.Close()
	var in []mailbox.Message
	var out []uint32
	for m := range view.Messages(ranges, true) {
		if err := s.interrupted(); err != nil {
			return change, err
		}
		if !c.uid {
			change.numbers[m.UID] = m.Seq
		}
		if told, ok := touched[m.UID]; ok {
			m.Flags, m.ModSeq = told.Flags, told.ModSeq
		}
		if !sr.Matches(m) {
			out = append(out, m.UID)
			continue
		}
		in = append(in, m)
		if m.UID > last {
			change.came = append(change.came, m.UID)
		}
	}
	change.removed = c.remove(out)
	if in = c.nonMembers(in); len(in) == 0 {
		return change, nil
	}
	if c.order == nil {
		change.added = c.insert(in, make([]int, len(in)))
		return change, nil
	}
	reader := newHeaderReader(s, omissions{})
	defer reader.close()
	in, places, err := newPlacer(reader, c.order, len(c.members), func(i int) (mailbox.Message, bool) { return messageOf(view, c.members[i]) }).places(in)
	if err == nil {
		change.added = c.insert(in, places)
	}
	return change, err
}

// messageOf returns the message with a UID.
func messageOf(view *mailbox.View, uid uint32) (m mailbox.Message, ok bool) {
	for m := range view.Messages([]mailbox.Range{{First: uid, Last: uid}}, true) {
		return m, true
	}
	return m, false
}

// unsettled returns the messages that may begin or cease to match although they did not change.
// If the key has a set of UIDs with "*", these are the message that was last and the one that
// is last now; all between the two are new or gone, and are tested for that reason. Names of
// keywords need no care here: the view reports updates of their messages.
func (c *searchContext) unsettled(view *mailbox.View) []mailbox.Range {
	was := c.last
	if c.last = view.LastUID(); c.last == was || !c.query.program.Key.UsesLast() {
		return nil
	}
	return []mailbox.Range{{First: was, Last: was}, {First: c.last, Last: c.last}}
}

// remove removes messages, given in ascending order, and returns the edits.
func (c *searchContext) remove(uids []uint32) (edits []edit) {
	if len(uids) == 0 {
		return nil
	}
	gone := func(uid uint32) bool {
		_, found := slices.BinarySearch(uids, uid)
		return found
	}
	from := -1
	if c.order != nil {
		from = slices.IndexFunc(c.members, gone)
	} else if i := slices.IndexFunc(uids, c.has); i >= 0 {
		from, _ = slices.BinarySearch(c.members, uids[i])
	}
	if from < 0 {
		return nil
	}
	kept := c.members[:from]
	next := -1 // the position that continues the last edit
	for _, uid := range c.members[from:] {
		if !gone(uid) {
			kept, next = append(kept, uid), -1
			continue
		}
		if at := len(kept) + 1; len(edits) > 0 && (c.order == nil || at == next) {
			edits[len(edits)-1].uids = append(edits[len(edits)-1].uids, uid)
		} else {
			edits, next = append(edits, c.edit(at, uid)), at
		}
	}
	c.members = kept
	return edits
}

// nonMembers returns those of the messages, given in ascending order, that are not members.
func (c *searchContext) nonMembers(msgs []mailbox.Message) []mailbox.Message {
	if len(msgs) == 0 {
		return nil
	}
	if c.order == nil {
		return slices.DeleteFunc(msgs, func(m mailbox.Message) bool { return c.has(m.UID) })
	}
	known := make([]bool, len(msgs))
	byUID := func(m mailbox.Message, uid uint32) int { return int(int64(m.UID) - int64(uid)) }
	for _, uid := range c.members {
		if i, found := slices.BinarySearchFunc(msgs, uid, byUID); found {
			known[i] = true
		}
	}
	var out []mailbox.Message
	for i, m := range msgs {
		if !known[i] {
			out = append(out, m)
		}
	}
	return out
}

// has reports whether a message is a member. The context must be of SEARCH.
func (c *searchContext) has(uid uint32) bool {
	_, found := slices.BinarySearch(c.members, uid)
	return found
}

// insert adds messages, each before the member that is at its place now, and returns the edits.
// places is ignored without an order.
func (c *searchContext) insert(msgs []mailbox.Message, places []int) (edits []edit) {
	if c.order == nil {
		e := edit{}
		for i, m := range msgs {
			places[i], _ = slices.BinarySearch(c.members, m.UID)
			e.uids = append(e.uids, m.UID)
		}
		edits = []edit{e}
	}
	members := make([]uint32, 0, len(c.members)+len(msgs))
	from := 0
	for i, m := range msgs {
		if members = append(members, c.members[from:places[i]]...); c.order != nil {
			if i > 0 && places[i] == from {
				edits[len(edits)-1].uids = append(edits[len(edits)-1].uids, m.UID)
			} else {
				edits = append(edits, c.edit(len(members)+1, m.UID))
			}
		}
		members, from = append(members, m.UID), places[i]
	}
	c.members = append(members, c.members[from:]...)
	return edits
}

func (c *searchContext) edit(at int, uid uint32) edit {
	if c.order == nil {
		at = 0
	}
	return edit{at, []uint32{uid}}
}

// contextResponse writes the response for a change, if anything changed.
func (s *session) contextResponse(change *contextChange) {
	if len(change.removed) == 0 && len(change.added) == 0 {
		return
	}
	w, c := s.w, change.c
	s.esearchHead(c.tag, c.query.named, c.uid)
	for _, part := range []struct {
		name  string
		edits []edit
	}{{" REMOVEFROM (", change.removed}, {" ADDTO (", change.added}} {
		if len(part.edits) == 0 {
			continue
		}
		w.Raw(part.name)
		for i, e := range part.edits {
			if i > 0 {
				w.SP()
			}
			w.Number(uint64(e.at))
			w.SP()
			nums := e.uids
			if !c.uid {
				nums = make([]uint32, len(e.uids))
				for j, uid := range e.uids {
					nums[j] = change.numbers[uid]
				}
			}
			w.RawBytes(syntax.AppendSet(nil, nums))
		}
		w.Byte(')')
	}
	w.CRLF()
}
