package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// notifyExtension is NOTIFY (RFC 5465). This file has the command; notifier.go
// what a session does to keep its word.
func notifyExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapNotify},
		commands: []command{{name: "NOTIFY", in: loggedIn, news: allNews, run: runNotify}},
	}
}

// events are what a client can ask to be told of, as bits.
type events uint8

const (
	eventNew     events = 1 << iota // MessageNew
	eventExpunge                    // MessageExpunge
	eventFlags                      // FlagChange
	eventName                       // MailboxName
	eventSubscription
	eventMetadata       // MailboxMetadataChange
	eventServerMetadata // ServerMetadataChange
	eventUnknown        // what is not told here

	eventsOfMessages = eventNew | eventExpunge | eventFlags
	eventsOfTree     = eventName | eventSubscription
	eventsOfMetadata = eventMetadata | eventServerMetadata
)

var eventWords = map[string]events{
	"MESSAGENEW": eventNew, "MESSAGEEXPUNGE": eventExpunge, "FLAGCHANGE": eventFlags,
	"MAILBOXNAME": eventName, "SUBSCRIPTIONCHANGE": eventSubscription,
	"MAILBOXMETADATACHANGE": eventMetadata, "SERVERMETADATACHANGE": eventServerMetadata,
}

// knownEvents is told to who asks for others.
const knownEvents = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)"

// eventGroup is what is to be told of some mailboxes.
type eventGroup struct {
	mailboxFilter
	events events
	items  *fetchItems // of MessageNew; nil for none
}

// selected tells whether the group is for the selected mailbox.
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
		groups = append(groups, s.eventGroup())
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
	// What has gathered in the selected mailbox is told, whatever is to be told
	// from now on.
	s.done.tellAll = true
	return nil
}

// eventGroup takes one group.
func (s *session) eventGroup() (g eventGroup) {
	lx := s.lx
	lx.Enter()
	g.mailboxFilter = lx.mailboxFilter(s.account.Tree())
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

// event takes an event, with the items that MessageNew may have, and the space
// behind it; more tells whether there was one.
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
		lx.Fail("What to FETCH is for the selected mailbox only.")
	}
	items := lx.fetchItems()
	for i := range items.parts {
		items.parts[i].Peek = true // nobody read the message
	}
	g.items = &items
	return lx.More()
}

// checkGroups refuses what RFC 5465 sections 5 and 6.1 rule out.
func checkGroups(groups []eventGroup) error {
	found := false
	for i := range groups {
		g := &groups[i]
		switch e := g.events; {
		case g.selected() && found:
			return bad("There is one group for the selected mailbox.")
		case g.selected() && e&(eventsOfTree|eventsOfMetadata) != 0:
			return bad("The selected mailbox has events of messages only.")
		case e&eventUnknown != 0:
			return no(knownEvents, "Not all of these events can be told.")
		case (e&eventNew == 0) != (e&eventExpunge == 0):
			return bad("MessageNew and MessageExpunge go together.")
		case e&eventFlags != 0 && e&eventNew == 0:
			return bad("FlagChange needs MessageNew and MessageExpunge.")
		}
		found = found || g.selected()
	}
	return nil
}

// holds says what of the news of the selected mailbox a command, or the time
// between commands, is not to tell.
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

// newMessages tells of messages that came into the selected mailbox what the
// client asked for, of all (RFC 5465 section 5.2) and of those that are in the
// result of a search (section 7), in one response a message. last is the highest
// UID before.
func (s *session) newMessages(last uint32, changes []contextChange) error {
	var all *fetchItems
	if s.notify != nil {
		all = s.notify.selected.items
	}
	own := s.sel.own
	s.sel.own = nil
	asked := all != nil
	for i := range changes {
		asked = asked || changes[i].c.items != nil && len(changes[i].came) > 0
	}
	if !asked || last == ^uint32(0) {
		return nil
	}
	var run []mailbox.Message
	var items *fetchItems // of all of run
	serve := func() error {
		if len(run) == 0 {
			return nil
		}
		err := s.fetchNew(items, run)
		if err != nil && !isConnError(err) {
			s.log.Warn("new messages cannot be told of", "mailbox", s.sel.name, "error", err)
			return nil
		}
		return err
	}
	before := uint64(0)
	for m := range s.sel.view.Messages([]mailbox.Range{{First: last + 1, Last: ^uint32(0)}}, true) {
		var wanted []*fetchItems
		which := uint64(0) // as bits
		if all != nil && !slices.Contains(own, m.UID) {
			wanted, which = append(wanted, all), 1
		}
		for i := range changes {
			if change := &changes[i]; change.c.items != nil && change.has(m.UID) {
				wanted, which = append(wanted, change.c.items), which|2<<i
			}
		}
		if which != before {
			if err := serve(); err != nil {
				return err
			}
			run, before = nil, which
			if which != 0 {
				items = joined(wanted)
			}
		}
		if which != 0 {
			run = append(run, m)
		}
	}
	return serve()
}

func (s *session) fetchNew(items *fetchItems, msgs []mailbox.Message) error {
	for _, begin := range items.begin {
		if err := begin(s, syntax.NumSet{Ranges: []mailbox.Range{{First: msgs[0].UID, Last: msgs[len(msgs)-1].UID}}}); err != nil {
			return err
		}
	}
	f := &fetcher{s: s, items: items, need: items.needs(), cached: s.sel.view.Cached()}
	defer f.cached.Close()
	return f.run(slices.Chunk(msgs, fetchChunk), false)
}

// ownMessages notes messages that a command of the client put into a mailbox.
func (s *session) ownMessages(box *maildir.Mailbox, uids []uint32) {
	if s.notify != nil && s.notify.selected.items != nil && s.sel != nil && s.sel.box.Mailbox == box.Mailbox {
		s.sel.own = append(s.sel.own, uids...)
	}
}
