package imap

import (
	"errors"
	"slices"

	"maildird/maildir"
	"maildird/maildir/folder"
)

// treeEntry is a mailbox, or a name that only is subscribed or has children.
type treeEntry struct {
	folder.Entry
	id maildir.FolderID
}

// look lists the folders of the account.
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

// ownTreeChange notes names that a command of this client changed, so that they are not
// reported to it (RFC 5465 section 5).
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

// tellTree reports changes of the folders, and updates the set of watched mailboxes.
func (n *notifier) tellTree() error {
	now, err := n.look()
	if err != nil {
		n.s.log.Warn("folders cannot be read", "error", err)
		return nil
	}
	was := n.known
	n.known = now
	if n.wants&eventsOfTree != 0 {
		d := treeDiff{n: n, was: was, now: now, told: map[string]bool{}, renames: map[string]string{}, left: map[string]bool{}}
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
		n.overflow("There are now more mailboxes than a session may watch")
		return nil
	}
	return err
}

// treeDiff reports the differences between two listings of the folders.
type treeDiff struct {
	n        *notifier
	was, now map[string]treeEntry
	told     map[string]bool
	renames  map[string]string // old names by new names, without those below a renamed one
	left     map[string]bool   // the old names in renames
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
	slices.Sort(made) // parents before their children
	slices.Sort(gone)
	byPlace := map[maildir.FolderID][]string{} // names that are gone, by identity
	for _, name := range gone {
		if place := d.was[name].id.Place(); place != (maildir.FolderID{}) {
			byPlace[place] = append(byPlace[place], name)
		}
	}
	moved := map[string]bool{} // which of those were renamed
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
	for _, name := range gone {
		if !moved[name] {
			d.name(name, "")
		}
	}
	for _, name := range append(made, gone...) {
		d.parents(name)
	}
	d.subscriptions()
}

// rename reports that a mailbox was renamed. The names below it were renamed with it
// and are not reported.
func (d *treeDiff) rename(from, to string) {
	for above := range parents(to, d.n.s.account.Tree().Separator()) {
		if was, ok := d.renames[above]; ok && from == was+to[len(above):] {
			d.told[to] = true
			return
		}
	}
	d.renames[to] = from
	d.left[from] = true
	d.name(to, from)
}

// name reports that a name has become a mailbox or is no longer one.
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

// parents reports the names above one that was created, removed or renamed, if they have got
// their first child or lost their last.
func (d *treeDiff) parents(name string) {
	for above := range parents(name, d.n.s.account.Tree().Separator()) {
		if d.told[above] || d.now[above].HasChildren == d.hadChildren(above) {
			continue
		}
		if d.events(above)&eventName != 0 {
			d.list(above, "")
		}
		d.told[above] = true
	}
}

// hadChildren reports whether a name has children as far as the client knows, which was told of
// the renames: the names below a renamed one were renamed with it.
func (d *treeDiff) hadChildren(name string) bool {
	if d.left[name] {
		return false
	}
	for above := range parents(name, d.n.s.account.Tree().Separator()) {
		if from, ok := d.renames[above]; ok {
			if was, ok := d.was[from+name[len(above):]]; ok {
				return was.HasChildren
			}
		}
		if d.left[above] {
			return false
		}
	}
	return d.was[name].HasChildren
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

// events returns the events that the client asked for of a name. Subscribed counts if it was
// subscribed or is now.
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
		s.w.oldName(from)
	}
	s.w.CRLF()
}
