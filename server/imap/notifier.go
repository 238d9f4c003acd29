package imap

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/server/imap/wire"
)

// notifier implements what a client asked for with NOTIFY. It holds mailboxes open to
// get their events, and the account reports changes of its folders. Both wake the
// session, which then compares the state with what it last reported; everything in
// between counts as one change. Only the goroutine of the session uses a notifier,
// except for mark, markTree and metadataChanged.
type notifier struct {
	s        *session
	selected eventGroup   // for the selected mailbox
	groups   []eventGroup // for other mailboxes
	wants    events       // union of the events of groups

	known   map[string]treeEntry // the folders as last reported
	own     map[string]bool      // names that commands of this client changed since then
	watched map[string]*watchedBox
	stop    []func() // unregister from changes of folders and annotations

	mu    sync.Mutex
	dirty map[*watchedBox]struct{} // mailboxes with events
	tree  bool                     // the folders have changed
	// metadata is the names of changed annotations, by mailbox; "" is the server.
	metadata map[string]map[string]bool
	entries  int // number of these names; above maxEntriesToTell, some are missing
}

// watchedBox is a mailbox that is held open for its events.
type watchedBox struct {
	name string
	box  *maildir.Mailbox
	view *mailbox.View // wakes the session
	told boxState
}

// boxState is what the client knows about a mailbox.
type boxState struct {
	messages, uidNext, validity, unseen uint32
	modseq                              uint64
}

func newNotifier(s *session, groups []eventGroup) *notifier {
	n := &notifier{s: s, watched: map[string]*watchedBox{}}
	for _, g := range groups {
		if g.selected() {
			n.selected = g
		} else if g.events != 0 {
			n.groups = append(n.groups, g)
			n.wants |= g.events
		}
	}
	return n
}

// begin opens the mailboxes to watch. With status it reports the state of each.
func (n *notifier) begin(status bool) (err error) {
	if n.wants == 0 {
		return nil
	}
	n.stop = append(n.stop, n.s.account.OnTreeChange(n.markTree))
	if n.wants&eventsOfMetadata != 0 {
		n.stop = append(n.stop, n.s.account.OnMetadata(n.metadataChanged))
	}
	if n.known, err = n.look(); err != nil {
		return err
	}
	return n.watch(func(w *watchedBox, now boxState) {
		w.told = now
		if status && !n.isSelected(w) {
			show := showCount | showValidity | showUnseen
			if n.eventsOf(w.name)&eventFlags != 0 && now.modseq > 0 {
				show |= showModSeq
			}
			n.s.w.boxState(w.name, now, show)
		}
	})
}

func (n *notifier) close() {
	for _, stop := range n.stop {
		stop()
	}
	for _, w := range n.watched {
		w.close()
	}
}

func (w *watchedBox) close() {
	w.view.Close()
	w.box.Release()
}

// setNotifier replaces the notifier of the session.
func (s *session) setNotifier(n *notifier) {
	if s.notify != nil {
		s.notify.close()
	}
	s.notify = n
}

// mark notes an event of a mailbox. It is called by other goroutines.
func (n *notifier) mark(w *watchedBox) {
	n.mu.Lock()
	if n.dirty == nil {
		n.dirty = map[*watchedBox]struct{}{}
	}
	n.dirty[w] = struct{}{}
	n.mu.Unlock()
	n.s.wire.Wake(wire.NewsOthers)
}

// markTree notes a change of the folders. It is called by other goroutines.
func (n *notifier) markTree() {
	n.mu.Lock()
	n.tree = true
	n.mu.Unlock()
	n.s.wire.Wake(wire.NewsOthers)
}

// tell reports what has changed and what the client asked for.
func (n *notifier) tell() error {
	n.mu.Lock()
	tree, dirty, changed, entries := n.tree, n.dirty, n.metadata, n.entries
	n.tree, n.dirty, n.metadata, n.entries = false, nil, nil, 0
	n.mu.Unlock()
	if entries > maxEntriesToTell {
		n.overflow("Too many annotations have changed")
		return nil
	}
	if tree {
		if err := n.tellTree(); err != nil {
			return err
		}
	}
	if n.s.notify != n { // tellTree has found too many mailboxes
		return nil
	}
	byName := func(a, b *watchedBox) int { return cmp.Compare(a.name, b.name) }
	for _, w := range slices.SortedFunc(maps.Keys(dirty), byName) {
		if n.watched[w.name] != w {
			continue
		}
		if err := n.s.interrupted(); err != nil {
			return err
		}
		n.tellBox(w)
	}
	n.tellMetadata(changed)
	return nil
}

// tellBox reports the state of a mailbox if it has changed.
func (n *notifier) tellBox(w *watchedBox) {
	now, err := n.state(w)
	switch {
	case errors.Is(err, mailbox.ErrReplaced):
		n.reopen(w)
	case err != nil:
		n.s.log.Warn("mailbox cannot be read", "mailbox", w.name, "error", err)
	default:
		n.tellState(w, now)
	}
}

// state returns the state of a mailbox, and discards the updates of its view.
func (n *notifier) state(w *watchedBox) (now boxState, err error) {
	if n.s.condstore || n.eventsOf(w.name)&eventFlags != 0 {
		now, err = n.stateAndModSeq(w)
	} else {
		now, err = n.numbers(w)
	}
	if err == nil {
		w.view.Updates(0, func(mailbox.Update) {})
	}
	return now, err
}

// stateAndModSeq reads the state up to four times, until the numbers and the mod-sequence
// belong to the same moment. If they never do, the mod-sequence is older than the
// numbers: with a newer one, a client would take itself to know a message that the
// numbers do not include yet.
func (n *notifier) stateAndModSeq(w *watchedBox) (now boxState, err error) {
	modseq, err := w.box.HighestModSeq(n.s.ctx)
	for range 4 {
		if err != nil {
			return now, err
		}
		if now, err = n.numbers(w); err != nil {
			return now, err
		}
		now.modseq = modseq
		if modseq, err = w.box.HighestModSeq(n.s.ctx); modseq == now.modseq {
			break
		}
	}
	return now, err
}

func (n *notifier) numbers(w *watchedBox) (boxState, error) {
	st, err := w.box.Status(n.s.ctx, false, n.s.interrupted)
	return boxState{messages: st.Messages, uidNext: st.UIDNext, validity: st.UIDValidity, unseen: st.Unseen}, err
}

// reopen continues with the mailbox that has the name now.
func (n *notifier) reopen(w *watchedBox) {
	w.close()
	delete(n.watched, w.name)
	again, err := n.open(w.name)
	if errors.Is(err, folder.ErrNotFound) {
		return
	}
	if err == nil {
		again.told = w.told
		n.watched[w.name] = again
		var now boxState
		if now, err = n.state(again); err == nil {
			n.tellState(again, now)
		}
	}
	if err != nil && !errors.Is(err, mailbox.ErrReplaced) { // removed once more
		n.s.log.Warn("mailbox cannot be read", "mailbox", w.name, "error", err)
	}
}

// showBits selects the items of a STATUS response.
type showBits uint8

const (
	showCount showBits = 1 << iota // MESSAGES and UIDNEXT
	showValidity
	showUnseen
	showModSeq
)

// tellState reports the changes of a mailbox that the client asked for (RFC 5465
// sections 5.1 to 5.3).
func (n *notifier) tellState(w *watchedBox, now boxState) {
	was, e := w.told, n.eventsOf(w.name)
	w.told = now
	if n.isSelected(w) || e&eventNew == 0 {
		return
	}
	var show showBits
	if now.messages != was.messages || now.uidNext != was.uidNext || now.validity != was.validity {
		show |= showCount
	}
	if now.validity != was.validity {
		show |= showValidity
	}
	if e&eventFlags != 0 && now.unseen != was.unseen {
		show |= showUnseen
	}
	if n.s.condstore && now.modseq > 0 {
		if e&eventFlags != 0 && now.modseq != was.modseq {
			show |= showValidity
		}
		if show != 0 {
			show |= showModSeq
		}
	}
	if show != 0 {
		n.s.w.boxState(w.name, now, show)
	}
}

// isSelected reports whether a mailbox is the selected one, which gets no STATUS responses.
func (n *notifier) isSelected(w *watchedBox) bool { return n.s.sel != nil && n.s.sel.name == w.name }

// boxState writes a STATUS response.
func (w *writer) boxState(name string, st boxState, show showBits) {
	w.Raw("* STATUS ")
	w.Mailbox(name)
	sep := " ("
	item := func(bit showBits, name string, n uint64) {
		if show&bit == 0 {
			return
		}
		w.Raw(sep)
		w.Raw(name)
		w.SP()
		w.Number(n)
		sep = " "
	}
	item(showCount, "MESSAGES", uint64(st.messages))
	item(showCount, "UIDNEXT", uint64(st.uidNext))
	item(showValidity, "UIDVALIDITY", uint64(st.validity))
	item(showUnseen, "UNSEEN", uint64(st.unseen))
	item(showModSeq, "HIGHESTMODSEQ", st.modseq)
	w.Raw(")\r\n")
}

// eventsOf returns the events that the client asked for of a mailbox other than the selected
// one: those of all groups that match.
func (n *notifier) eventsOf(name string) (e events) {
	return n.eventsIf(name, n.known[name].Subscribed)
}

func (n *notifier) eventsIf(name string, subscribed bool) (e events) {
	separator := n.s.account.Tree().Separator()
	for i := range n.groups {
		if g := &n.groups[i]; g.matches(name, subscribed, separator) {
			e |= g.events
		}
	}
	return e
}

// watch opens the mailboxes for which the client asked for message events, and closes the
// others. It calls opened for each new one.
func (n *notifier) watch(opened func(*watchedBox, boxState)) error {
	want := map[string]bool{}
	for name, e := range n.known {
		if !e.NoSelect && n.eventsOf(name)&eventsOfMessages != 0 {
			want[name] = true
		}
	}
	if len(want) > n.s.srv.cfg.Limits.Watched {
		return errOverflow
	}
	for name, w := range n.watched {
		if !want[name] {
			w.close()
			delete(n.watched, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if n.watched[name] != nil {
			continue
		}
		if err := n.s.interrupted(); err != nil {
			return err
		}
		var now boxState
		w, err := n.open(name)
		if err == nil {
			n.watched[name] = w
			now, err = n.state(w)
		}
		switch {
		case err == nil:
			opened(w, now)
		case !errors.Is(err, folder.ErrNotFound):
			n.s.log.Warn("mailbox cannot be watched", "mailbox", name, "error", err)
		}
	}
	return nil
}

func (n *notifier) open(name string) (*watchedBox, error) {
	box, err := n.s.open(name)
	if err != nil {
		return nil, err
	}
	w := &watchedBox{name: name, box: box}
	if w.view, err = box.NewView(n.s.ctx, true, func() { n.mark(w) }); err != nil {
		box.Release()
		return nil, err
	}
	return w, nil
}

// errOverflow refuses to watch more mailboxes than the limit of a session (RFC
// 5465 section 5.8).
var errOverflow = no("NOTIFICATIONOVERFLOW", "That is more mailboxes than a session may watch.")

// overflow ends the notifications, as after NOTIFY NONE (RFC 5465 section 5.8).
func (n *notifier) overflow(why string) {
	n.s.w.untagged("OK", "NOTIFICATIONOVERFLOW", why+"; notifications have ended.")
	n.s.setNotifier(&notifier{s: n.s})
}
