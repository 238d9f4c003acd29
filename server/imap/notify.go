package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// notifyExtension is NOTIFY (RFC 5465). This file parses the command;
// notifier.go sends the notifications.
func notifyExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapNotify},
		commands: []command{{name: "NOTIFY", in: loggedIn, news: allNews, run: runNotify}},
	}
}

// events is a set of events that a client can ask for.
type events uint8

const (
	eventNew     events = 1 << iota // MessageNew
	eventExpunge                    // MessageExpunge
	eventFlags                      // FlagChange
	eventName                       // MailboxName
	eventSubscription
	eventMetadata       // MailboxMetadataChange
	eventServerMetadata // ServerMetadataChange
	eventUnknown        // any event that is not supported

	eventsOfMessages = eventNew | eventExpunge | eventFlags
	eventsOfTree     = eventName | eventSubscription
	eventsOfMetadata = eventMetadata | eventServerMetadata
)

var eventWords = map[string]events{
	"MESSAGENEW": eventNew, "MESSAGEEXPUNGE": eventExpunge, "FLAGCHANGE": eventFlags,
	"MAILBOXNAME": eventName, "SUBSCRIPTIONCHANGE": eventSubscription,
	"MAILBOXMETADATACHANGE": eventMetadata, "SERVERMETADATACHANGE": eventServerMetadata,
}

// knownEvents is the response code for a command with unknown events.
const knownEvents = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)"

// eventGroup is the events that a client asks for of some mailboxes.
type eventGroup struct {
	mailboxFilter
	events events
	items  *fetchItems // of MessageNew; nil for none
}

// selected reports whether the group is for the selected mailbox.
func (g *eventGroup) selected() bool {
	return g.kind == filterSelected || g.kind == filterSelectedDelayed
}

// runNotify is NOTIFY (RFC 5465 section 3.1).
func runNotify(s *session) error {
	lx := s.lx
	lx.SP()
	switch word := lx.Word(); string(word) {
	case "NONE":
		if err := lx.End(); err != nil {
			return err
		}
		s.setNotifier(&notifier{s: s})
		return nil
	case "SET":
	default:
		lx.Fail("Expected SET or NONE.")
	}
	lx.SP()
	status := false
	if lx.Peek() != '(' {
		if status = string(lx.Word()) == "STATUS"; !status {
			lx.Fail("Expected STATUS or a group of events.")
		}
		lx.SP()
	}
	var groups []eventGroup
	var bounds filterBounds
	for more := true; more; more = lx.More() {
		groups = append(groups, lx.eventGroup(s.account.Tree()))
		bounds.count(lx, &groups[len(groups)-1].mailboxFilter)
	}
	if err := lx.End(); err != nil {
		return err
	}
	if err := checkGroups(groups); err != nil {
		return err
	}
	n := newNotifier(s, groups)
	if err := n.begin(status); err != nil {
		n.close()
		return err
	}
	s.setNotifier(n)
	// Changes of the selected mailbox until now are reported, whatever the client asks
	// for from now on.
	s.done.tellAll = true
	return nil
}

// eventGroup takes a group of events.
func (lx *lexer) eventGroup(tree *folder.Tree) (g eventGroup) {
	lx.Enter()
	g.mailboxFilter = lx.mailboxFilter(tree)
	if g.kind == filterSubtreeOne {
		lx.Fail("SUBTREE-ONE is for ESEARCH.")
	}
	lx.SP()
	if lx.Peek() != '(' {
		if string(lx.Word()) != "NONE" {
			lx.Fail("Expected a list of events or NONE.")
		}
	} else {
		lx.Enter()
		for more := true; more && lx.Err() == nil; {
			more = lx.event(&g) && lx.Peek() != ')'
		}
		lx.Leave()
	}
	lx.Leave()
	return g
}

// event takes an event, the items that MessageNew may have, and the space that follows. more
// reports whether there was a space.
func (lx *lexer) event(g *eventGroup) (more bool) {
	word := lx.Word()
	e, ok := eventWords[string(word)]
	if !ok {
		e = eventUnknown
	}
	g.events |= e
	if more = lx.More(); e != eventNew || !more || lx.Peek() != '(' {
		return more
	}
	if !g.selected() {
		lx.Fail("FETCH items are allowed for the selected mailbox only.")
	}
	items := lx.fetchItems()
	for i := range items.parts {
		items.parts[i].Peek = true // nobody has read the message
	}
	g.items = &items
	return lx.More()
}

// checkGroups returns an error for what RFC 5465 sections 5 and 6.1 do not allow.
func checkGroups(groups []eventGroup) error {
	found := false
	for i := range groups {
		g := &groups[i]
		switch e := g.events; {
		case g.selected() && found:
			return bad("Only one group is allowed for the selected mailbox.")
		case g.selected() && e&(eventsOfTree|eventsOfMetadata) != 0:
			return bad("Only message events are allowed for the selected mailbox.")
		case e&eventUnknown != 0:
			return no(knownEvents, "Not all of these events are supported.")
		case (e&eventNew == 0) != (e&eventExpunge == 0):
			return bad("MessageNew and MessageExpunge must be used together.")
		case e&eventFlags != 0 && e&eventNew == 0:
			return bad("FlagChange needs MessageNew and MessageExpunge.")
		}
		found = found || g.selected()
	}
	return nil
}

// holds returns which updates of the selected mailbox must be held back after a
// command, or between commands.
func (s *session) holds(n news) mailbox.Hold {
	hold := mailbox.Hold(0)
	if n == noExpunges {
		hold = mailbox.HoldExpunges
	}
	if s.notify == nil || s.done.tellAll {
		return hold
	}
	e := s.notify.selected.events
	if e&eventNew == 0 {
		return mailbox.HoldAll
	}
	if e&eventFlags == 0 {
		hold |= mailbox.HoldFlags
	}
	return hold
}

// newMessages sends the FETCH responses that the client asked for of new messages in the
// selected mailbox, be it of all (RFC 5465 section 5.2) or of those that joined the
// result of a search (section 7). Each message gets one response. last is the highest
// UID of older messages.
func (s *session) newMessages(last uint32, changes []contextChange) error {
	wishes := s.newsWishes(changes)
	s.sel.own = nil
	if len(wishes) == 0 || last == ^uint32(0) {
		return nil
	}
	var run []mailbox.Message
	var by uint64 // set of wishes that apply to all of run, as bits
	for m := range s.sel.view.Messages([]mailbox.Range{{First: last + 1, Last: ^uint32(0)}}, true) {
		which := uint64(0)
		for i, w := range wishes {
			if w.of(m.UID) {
				which |= 1 << i
			}
		}
		if which != by {
			if err := s.tellNew(run, wishes, by); err != nil {
				return err
			}
			run, by = nil, which
		}
		if which != 0 {
			run = append(run, m)
		}
	}
	return s.tellNew(run, wishes, by)
}

// newsWish is the items that the client asked for of some new messages.
type newsWish struct {
	items *fetchItems
	of    func(uid uint32) bool
}

// newsWishes returns the wishes of NOTIFY, which leave out messages that this client added, and
// of the contexts that messages joined.
func (s *session) newsWishes(changes []contextChange) (wishes []newsWish) {
	if s.notify != nil && s.notify.selected.items != nil {
		own := slices.Sorted(slices.Values(s.sel.own))
		wishes = append(wishes, newsWish{s.notify.selected.items, func(uid uint32) bool {
			_, isOwn := slices.BinarySearch(own, uid)
			return !isOwn
		}})
	}
	for i := range changes {
		if c := &changes[i]; c.c.items != nil && len(c.came) > 0 {
			wishes = append(wishes, newsWish{c.c.items, c.has})
		}
	}
	return wishes
}

// tellNew sends, for new messages, the items of the wishes whose bits are set.
func (s *session) tellNew(msgs []mailbox.Message, wishes []newsWish, which uint64) error {
	if len(msgs) == 0 {
		return nil
	}
	var lists []*fetchItems
	for i, w := range wishes {
		if which&(1<<i) != 0 {
			lists = append(lists, w.items)
		}
	}
	err := s.fetchNew(joined(lists), msgs)
	if err != nil && !endsSession(err) {
		s.log.Warn("new messages cannot be reported", "mailbox", s.sel.name, "error", err)
		return nil
	}
	return err
}

func (s *session) fetchNew(items *fetchItems, msgs []mailbox.Message) error {
	items = s.withModSeq(items)
	for _, begin := range items.begin {
		if err := begin(s, syntax.NumSet{Ranges: []mailbox.Range{{First: msgs[0].UID, Last: msgs[len(msgs)-1].UID}}}); err != nil {
			return err
		}
	}
	f := &fetcher{s: s, items: items, need: items.needs(), cached: s.sel.view.Cached()}
	defer f.cached.Close()
	return f.run(slices.Chunk(msgs, fetchChunk), false)
}

// withModSeq returns items with what every FETCH response with flags must include that is not
// the answer to a FETCH: MODSEQ, and UID (RFC 7162 sections 3.1 and 3.2.4).
func (s *session) withModSeq(items *fetchItems) *fetchItems {
	if !s.tellsModSeqs() || items.set&fetchFlags == 0 {
		return items
	}
	more := *items
	more.attrs, more.begin = slices.Clip(items.attrs), slices.Clip(items.begin)
	more.addModSeq()
	if !s.uidOnly {
		more.set |= fetchUID
	}
	return &more
}

// ownMessages notes messages that a command of this client added to a mailbox.
func (s *session) ownMessages(box *maildir.Mailbox, uids []uint32) {
	if s.notify != nil && s.notify.selected.items != nil && s.sel != nil && s.sel.box.Mailbox == box.Mailbox {
		s.sel.own = append(s.sel.own, uids...)
	}
}
