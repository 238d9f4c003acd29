package imap

import (
	"errors"
	"slices"
	"strings"

	"maildird/maildir"
	"maildird/maildir/folder"
)

// treeEntry is a mailbox, or a name that is subscribed to or above others.
type treeEntry struct {
	folder.Entry
	id maildir.FolderID
}

// look lists the account's folders.
func (n *notifier) look() (map[string]treeEntry, error) {
	account := n.s.account
	entries, err := account.Tree().List()
	if err != nil {
		return nil, err
	}
	if entries, err = withSubscribed(account.Tree(), entries); err != nil {
		return nil, err
	}
	now := make(map[string]treeEntry, len(entries))
	for i := range entries {
		e := treeEntry{Entry: entries[i]}
		if n.wants&eventName != 0 && !e.NoSelect {
			if was, known := n.known[e.Name]; known && !was.NoSelect && was.id != (maildir.FolderID{}) {
				e.id = was.id
			} else if e.id, err = account.FolderID(e.Name); err != nil && !errors.Is(err, folder.ErrNotFound) {
				n.s.log.Warn("mailbox cannot be read", "mailbox", e.Name, "error", err)
			}
		}
		now[e.Name] = e
	}
	return now, nil
}

// ownTreeChange notes that a command of the client changed names, of which it
// need not be told (RFC 5465 section 5).
func (s *session) ownTreeChange(names ...string) {
	n := s.notify
	if n == nil || n.wants == 0 {
		return
	}
	if n.own == nil {
		n.own = map[string]bool{}
	}
	tree := s.account.Tree()
	for _, name := range names {
		if name, err := tree.Canonical(name); err == nil {
			n.own[name] = true
			for above := range parents(name, tree.Separator()) {
				n.own[above] = true
			}
		}
	}
	n.markTree()
}

// tellTree tells what happened to the folders, and watches what is to be watched
// by now.
func (n *notifier) tellTree() error {
	now, err := n.look()
	if err != nil {
		n.s.log.Warn("folders cannot be read", "error", err)
		return nil
	}
	was := n.known
	n.known = now
	if n.wants&eventsOfTree != 0 {
		d := treeDiff{n: n, was: was, now: now, told: map[string]bool{}, renames: map[string]string{}}
		d.tell()
	}
	err = n.watch(func(w *watchedBox, state boxState) {
		if n.own[w.name] {
			w.told = state
		}
		n.tellState(w, state)
	})
	n.own = nil
	if errors.Is(err, errOverflow) {
		n.s.writeStatus(nil, "OK", "NOTIFICATIONOVERFLOW", "There are now more mailboxes than a session may watch; notifications have ended.")
		n.s.setNotifier(&notifier{s: n.s})
		return nil
	}
	return err
}

// treeDiff tells the difference of two looks at the folders.
type treeDiff struct {
	n        *notifier
	was, now map[string]treeEntry
	told     map[string]bool
	renames  map[string]string // old names by new ones, but for those that are told with one above
}

func (d *treeDiff) tell() {
	var made, gone []string
	for name, e := range d.now {
		if was, known := d.was[name]; !e.NonExistent && (!known || was.NonExistent) {
			made = append(made, name)
		}
	}
	for name, e := range d.was {
		if now, known := d.now[name]; !e.NonExistent && (!known || now.NonExistent) {
			gone = append(gone, name)
		}
	}
	slices.Sort(made) // so that names come before those below them
	slices.Sort(gone)
	byPlace := map[maildir.FolderID][]string{} // names that are gone
	for _, name := range gone {
		if place := d.was[name].id.Place(); place != (maildir.FolderID{}) {
			byPlace[place] = append(byPlace[place], name)
		}
	}
	moved := map[string]bool{} // of those
	for _, to := range made {
		id := d.now[to].id
		from := byPlace[id.Place()]
		i := slices.IndexFunc(from, func(name string) bool { return !moved[name] && id.Same(d.was[name].id) })
		if i < 0 {
			d.name(to, "")
			continue
		}
		moved[from[i]] = true
		d.rename(from[i], to)
	}
	gone = slices.DeleteFunc(gone, func(name string) bool { return moved[name] })
	for _, name := range gone {
		d.name(name, "")
	}
	for _, name := range append(made, gone...) {
		d.parent(name)
	}
	d.subscriptions()
}

// rename tells that a mailbox has another name. Those below it are renamed with
// it and not told of.
func (d *treeDiff) rename(from, to string) {
	for above := range parents(to, d.n.s.account.Tree().Separator()) {
		if was, ok := d.renames[above]; ok && from == was+to[len(above):] {
			d.told[to] = true
			return
		}
	}
	d.renames[to] = from
	d.name(to, from)
}

// name tells that a name is one of a mailbox now, or is no more.
func (d *treeDiff) name(name, from string) {
	e := d.events(name)
	if from != "" {
		e |= d.events(from)
	}
	if e&eventName != 0 {
		d.list(name, from)
	}
	d.told[name] = true
}

// parent tells of the name above one that was made or removed: it may have
// children now, or none any more.
func (d *treeDiff) parent(name string) {
	i := strings.LastIndexByte(name, d.n.s.account.Tree().Separator())
	if _, moved := d.renames[name]; i <= 0 || moved || d.n.own[name] {
		return
	}
	if above := name[:i]; !d.told[above] && d.events(above)&eventName != 0 {
		d.list(above, "")
		d.told[above] = true
	}
}

func (d *treeDiff) subscriptions() {
	var changed []string
	for name, e := range d.now {
		if e.Subscribed != d.was[name].Subscribed {
			changed = append(changed, name)
		}
	}
	for name, e := range d.was {
		if _, there := d.now[name]; !there && e.Subscribed {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	for _, name := range changed {
		if !d.told[name] && d.events(name)&eventSubscription != 0 {
			d.list(name, "")
		}
	}
}

// events is what the client wants to know of a name, whether it was subscribed
// to or is now.
func (d *treeDiff) events(name string) events {
	return d.n.eventsIf(name, d.was[name].Subscribed || d.now[name].Subscribed)
}

// list writes the LIST response.
func (d *treeDiff) list(name, from string) {
	if d.n.own[name] {
		return
	}
	e, there := d.now[name]
	if !there {
		e.Entry = folder.Entry{Name: name, NoSelect: true, NonExistent: true}
	}
	s, cmd := d.n.s, listCommand{extended: true}
	cmd.ReturnSubscribed = true
	s.listResponse(cmd.attributes(&e.Entry), name)
	if from != "" {
		s.oldName(from)
	}
	s.w.CRLF()
}
