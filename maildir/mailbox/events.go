package mailbox

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// maxEvents bounds how many changed names are remembered; with more the folder
// is scanned.
const maxEvents = 1 << 16

// entry is a file name in new/ or cur/.
type entry struct {
	where table.Place
	name  string
}

// inbox is what the watcher told and nobody looked at yet.
type inbox struct {
	mu    sync.Mutex
	names map[entry]watch.Op // the last thing that happened to each name
	order []entry            // in the order in which they came up first
	all   bool               // events were lost: scan
	// away is which names went away, of those that were dropped for a scan: it
	// does not see that a name is another file's by now.
	away map[entry]struct{}
}

// drop orders a scan instead of what is to be worked off. in.mu is held.
func (in *inbox) drop() {
	for e, op := range in.names {
		in.leave(e, op)
	}
	in.all, in.names, in.order = true, nil, nil
}

// leave notes what happened to a name that is dropped. in.mu is held.
func (in *inbox) leave(e entry, op watch.Op) {
	if op != watch.Removed && op != watch.MovedAway || len(in.away) >= maxEvents {
		return
	}
	if in.away == nil {
		in.away = map[entry]struct{}{}
	}
	in.away[e] = struct{}{}
}

// event takes one event from the watcher's goroutine.
func (m *Mailbox) event(where table.Place, ev watch.Event) {
	if ev.Op != watch.Lost && (filename.Ignored(ev.Name) || m.agrees(entry{where, ev.Name}, ev.Op)) {
		return
	}
	in := &m.events
	in.mu.Lock()
	first := len(in.names) == 0 && !in.all
	switch e := (entry{where, ev.Name}); {
	case in.all:
		in.leave(e, ev.Op)
	case ev.Op == watch.Lost || len(in.names) >= maxEvents:
		in.drop()
		in.leave(e, ev.Op)
	default:
		if in.names == nil {
			in.names = map[entry]watch.Op{}
		}
		if _, ok := in.names[e]; !ok {
			in.order = append(in.order, e)
		}
		in.names[e] = ev.Op
	}
	in.mu.Unlock()
	if first {
		m.wake()
	}
}

// agrees tells whether the table knows already what an event says, as it does
// of our own changes.
func (m *Mailbox) agrees(e entry, op watch.Op) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	here := ok && m.t.Row(n).State == table.Present && m.t.HasName(n, e.where, e.name)
	return here == (op == watch.Appeared)
}

// take empties the inbox.
func (in *inbox) take() (names map[entry]watch.Op, order []entry, all bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	names, order, all = in.names, in.order, in.all
	in.names, in.order, in.all = nil, nil, false
	return names, order, all
}

func (in *inbox) empty() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.names) == 0 && !in.all
}

// putBack orders a scan, as what was taken was not worked off, or did not come.
func (in *inbox) putBack() {
	in.mu.Lock()
	in.drop()
	in.mu.Unlock()
}

// follow works off the names that changed, without listing a directory, and
// says whether a scan is needed to be sure. m.sync is held, and the uidlist's
// lock if lock is not nil; without it, needLock is returned as soon as a file
// turns up that has no UID yet.
func (m *Mailbox) follow(ctx context.Context, names map[entry]watch.Op, order []entry, lock *dotlock.Lock) (scan bool, err error) {
	var fresh []entry
	var vanished []entry
	for _, e := range order {
		if m.agrees(e, names[e]) {
			continue
		}
		st, err := m.in(e.where).Lstat(e.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			vanished = append(vanished, e)
		case err != nil:
			return false, err
		case !st.Regular():
			m.env.Log.Warn("something that is no regular file lies among the messages and is passed over",
				"mailbox", m.Path(), "name", e.name, "type", st.Mode.Type().String())
		default:
			if err := m.knowsLetters(e, lock != nil); err != nil {
				return false, err
			}
			if names[e] != watch.Appeared {
				m.forgetFile(e)
			}
			if !m.met(e) {
				fresh = append(fresh, e)
			}
		}
	}
	var gone []uint32
	for _, e := range vanished {
		n, ok := m.at(e)
		switch {
		case !ok: // the row has another name by now
		case m.aliased(n): // it had two names, and keeps the other
		case names[e] == watch.Removed:
			gone = append(gone, n)
		default:
			scan = true // moved away: where to?
		}
	}
	m.expunged(gone)
	if len(fresh) == 0 {
		return scan, nil
	}
	if lock == nil {
		return scan, errNeedLock
	}
	return scan, m.assign(lock, fresh)
}

// forgetFile drops what is cached of a file that went away and is there again:
// it may be another one.
func (m *Mailbox) forgetFile(e entry) {
	if n, ok := m.at(e); ok {
		m.forget(n)
	}
}

// forgetAway does that for the names that were dropped.
func (m *Mailbox) forgetAway() {
	m.events.mu.Lock()
	away := m.events.away
	m.events.away = nil
	m.events.mu.Unlock()
	for e := range away {
		if _, err := m.in(e.where).Lstat(e.name); err == nil {
			m.forgetFile(e)
		}
	}
}

// knowsLetters makes sure that the names of the keyword letters of a file are
// known. Dovecot renames the file first and names the letter after that, both
// under the uidlist's lock: without it, errNeedLock says to wait for the name.
// A letter that has no name then means nothing.
func (m *Mailbox) knowsLetters(e entry, locked bool) error {
	letters := filename.FlagsOf(e.name) & filename.Keywords
	unknown := func() bool {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return letters != 0 && m.nameless(letters) != 0
	}
	if locked || !unknown() { // under the lock the names were read
		return nil
	}
	if err := m.readKeywords(); err != nil {
		return err
	}
	if unknown() {
		return errNeedLock
	}
	return nil
}

// errNeedLock says that the work cannot be finished without the uidlist's lock.
var errNeedLock = errors.New("uidlist lock needed")

// at finds the present row whose file is, as far as the table knows, at e.
func (m *Mailbox) at(e entry) (uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	if !ok || m.t.Row(n).State != table.Present || !m.t.HasName(n, e.where, e.name) {
		return 0, false
	}
	return n, true
}

// met enters the file e in the table if it belongs to a row that has a file
// already, and says whether it did: such a message got new flags or went from
// new/ to cur/. If the old name is still there and another file, e is a
// message of its own.
func (m *Mailbox) met(e entry) bool {
	m.mu.RLock()
	n, ok := m.t.Lookup(filename.Base(e.name))
	if !ok || m.t.Row(n).State != table.Present {
		m.mu.RUnlock()
		return false
	}
	if m.t.HasName(n, e.where, e.name) {
		m.mu.RUnlock()
		return true
	}
	old := entry{m.t.Row(n).Where, m.t.FileName(n)}
	m.mu.RUnlock()
	if was, err := m.in(old.where).Lstat(old.name); err == nil {
		is, err := m.in(e.where).Lstat(e.name)
		if err == nil && was.ID() != is.ID() {
			return false
		}
		// Two names of one file: a rename by link and unlink is under way, or
		// somebody made a hard link. The old name serves while it is there.
		m.alias[n] = entry{e.where, strings.Clone(e.name)}
		return true
	}
	m.renamed(n, e)
	return true
}

// aliased gives a row whose file lost its name the other name it had, if any.
func (m *Mailbox) aliased(n uint32) bool {
	e, ok := m.alias[n]
	if !ok {
		return false
	}
	delete(m.alias, n)
	if _, err := m.in(e.where).Lstat(e.name); err != nil {
		return false
	}
	m.renamed(n, e)
	return true
}

// renamed notes the new name of a row and tells the views if flags changed.
func (m *Mailbox) renamed(n uint32, e entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.t.Row(n).Flags
	m.setName(n, e)
	if !m.loaded { // what was moved before anybody looked was claimed by others
		m.t.SetRecent(n, e.where == table.InNew)
	}
	if m.t.Row(n).Flags != before {
		m.flagsChanged(n, before)
		m.tellFlags(n, nil)
	}
}

// setName enters where a row's file is. m.mu is held.
func (m *Mailbox) setName(n uint32, e entry) {
	m.t.SetName(n, e.where, e.name)
	if e.where == table.InNew {
		m.inNew[n] = struct{}{}
	} else {
		delete(m.inNew, n)
	}
}

// expunged takes rows out of the table whose files are gone, ascending or not.
func (m *Mailbox) expunged(rows []uint32) {
	if len(rows) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expungeRows(rows)
}
