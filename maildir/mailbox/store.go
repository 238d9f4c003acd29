package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Op is how Store combines flags.
type Op uint8

// The operations of Store.
const (
	Set Op = iota // keyword letters without a name are kept
	Add
	Remove
)

// Store changes the flags of messages in their file names, durable on return, and returns
// the messages with their current flags, ascending. UIDs that no longer exist are skipped.
// Updates does not report the change to this view again. Keywords that have no letter yet
// get one; if they do not all fit, Store returns ErrKeywords and changes nothing.
func (v *View) Store(ctx context.Context, uids []uint32, op Op, flags filename.Flags, words []string) ([]Message, error) {
	done, _, err := v.StoreUnchangedSince(ctx, always, uids, op, flags, words)
	return done, err
}

// always is a mod-sequence after which nothing can have changed.
const always = ^uint64(0)

// StoreUnchangedSince is Store for those of the messages that nobody has changed after the
// mod-sequence since (RFC 7162 section 3.1.3). The others are left alone and returned in
// modified, as they are now; Updates does not report their changes to this view again.
func (v *View) StoreUnchangedSince(ctx context.Context, since uint64, uids []uint32, op Op, flags filename.Flags, words []string) (done, modified []Message, err error) {
	if v.readOnly {
		return nil, nil, ErrReadOnly
	}
	m := v.m
	var did storeResult
	err = m.changeAnyway(ctx, func(lock *dotlock.Lock) error {
		if since != always {
			if lock == nil {
				return fmt.Errorf("%w: %w", errNoRoom, syscall.ENOSPC)
			}
			// What other programs have done so far counts.
			if err := m.lookUnderLock(ctx, lock); err != nil {
				return err
			}
			if err := m.settle(ctx, lock); err != nil {
				return err
			}
			// Clients use numbers above all that exist for a STORE on any condition.
			if since <= m.hist.Highest() && !m.hist.Knows(since) {
				since = 0
			}
		}
		// No letter is assigned to a name that no message will have.
		add := op != Remove && len(words) > 0 && m.anyOpen(v, uids, since)
		if lock == nil && add && m.lacks(words) {
			return fmt.Errorf("%w, nor for a keyword: %w", errNoRoom, syscall.ENOSPC)
		}
		letters, err := m.letters(words, add)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, forwarded) }) {
			letters |= filename.Passed
		}
		did, err = m.store(lock, v, uids, flagChange{op, flags | letters, since})
		return err
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	done, modified = v.shown(did.done), v.shown(did.modified)
	if len(did.modified) > 0 { // the result tells the client about them
		v.flagged = slices.DeleteFunc(v.flagged, func(n uint32) bool {
			_, found := slices.BinarySearch(did.modified, n)
			return found && !m.t.Row(n).Unsettled
		})
	}
	return done, modified, err
}

// anyOpen reports whether one of the messages exists and did not change after since.
func (m *Mailbox) anyOpen(v *View, uids []uint32, since uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.ContainsFunc(uids, func(uid uint32) bool {
		n, ok := m.t.ByUID(uid)
		return ok && v.has(n) && m.renamingOf(n, flagChange{since: since}).err == nil
	})
}

// storeResult is the result of store: rows, ascending if the UIDs were.
type storeResult struct{ done, modified []uint32 }

// shown returns rows as messages in the view. m.mu is held.
func (v *View) shown(rows []uint32) []Message {
	out := make([]Message, 0, len(rows))
	for _, n := range rows {
		if v.has(n) {
			out = append(out, v.message(n, v.seq(n)))
		}
	}
	return out
}

// flagChange is what Store does to the flags of each message.
type flagChange struct {
	op    Op
	flags filename.Flags // Passed stands for $Forwarded, whose letter is also included
	since uint64         // messages that changed after this mod-sequence are left out
}

// combined returns the flags after the change. m.mu is held.
func (m *Mailbox) combined(old filename.Flags, ch flagChange) filename.Flags {
	switch ch.op {
	case Add:
		return old | ch.flags&^filename.Passed
	case Remove:
		return old &^ ch.flags
	}
	keep := m.names.nameless(filename.Keywords) | ch.flags&filename.Passed
	return old&keep | ch.flags&^filename.Passed
}

// storeBatch is how many files are renamed before the table is updated, so that other
// sessions wait only for a part of a long command.
const storeBatch = 64

// store renames the files. The uidlist's lock is held.
func (m *Mailbox) store(lock *dotlock.Lock, v *View, uids []uint32, ch flagChange) (did storeResult, err error) {
	did.done = make([]uint32, 0, len(uids))
	if 2*len(uids) >= min(holdFrom, m.watch.muteFrom) {
		events := 2 * m.differing(uids, ch)
		defer m.mute(events, events)()
	}
	batch := make([]renaming, 0, min(storeBatch, len(uids)))
	for i := 0; i < len(uids); i += storeBatch {
		if i%1024 == 1024-storeBatch {
			m.touch(lock)
		}
		batch = m.renamings(batch[:0], v, uids[i:min(i+storeBatch, len(uids))], ch)
		arrived := m.events.expect()
		for k := range batch {
			if !m.renameOne(&batch[k]) {
				batch = batch[:k+1]
				break
			}
		}
		m.takeRenamings(batch, v)
		arrived()
		var failed error
		for _, r := range batch { // all of it: those after one that fails may be done
			if r.elsewhere() && failed == nil {
				r.err = m.setFlags(r.n, r.from, v, ch)
			}
			switch {
			case errors.Is(r.err, ErrGone):
			case errors.Is(r.err, errModified):
				did.modified = append(did.modified, r.n)
			case r.err != nil:
				if failed == nil {
					failed = r.err
				}
			default:
				did.done = append(did.done, r.n)
			}
		}
		if failed != nil {
			return did, errors.Join(failed, m.dirs.sync())
		}
	}
	return did, m.dirs.sync()
}

// differing counts the messages whose flags the change would alter.
func (m *Mailbox) differing(uids []uint32, ch flagChange) (count int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, uid := range uids {
		if n, ok := m.t.ByUID(uid); ok {
			if r := m.t.Row(n); r.State == table.Present && m.combined(r.Flags, ch) != r.Flags {
				count++
			}
		}
	}
	return count
}

// errModified means that a message changed after the mod-sequence.
var errModified = errors.New("message was modified")

// renaming is a message that is to get other flags.
type renaming struct {
	n     uint32
	from  entry
	to    string // in cur/; "" if it already has the flags
	saved uint32 // when it was saved, if the row does not have it
	dated bool   // the row has the save date
	err   error  // ErrGone, errModified, or the error from renaming
}

// elsewhere reports whether the file had a different name than the table knows, or the new
// name was taken, because somebody else renamed it.
func (r *renaming) elsewhere() bool {
	return errors.Is(r.err, fs.ErrNotExist) || errors.Is(r.err, fs.ErrExist)
}

// renamings appends to batch what has to be done for the messages of the view.
func (m *Mailbox) renamings(batch []renaming, v *View, uids []uint32, ch flagChange) []renaming {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, uid := range uids {
		n, ok := m.t.ByUID(uid)
		if ok && v.has(n) {
			batch = append(batch, m.renamingOf(n, ch))
		}
	}
	return batch
}

// renamingOf returns what has to be done for one message. m.mu is held.
func (m *Mailbox) renamingOf(n uint32, ch flagChange) renaming {
	r := m.t.Row(n)
	to := renaming{n: n}
	flags := m.combined(r.Flags, ch)
	switch {
	case r.State != table.Present:
		to.err = ErrGone
	case ch.since != always && (r.ModSeq > ch.since || r.Unsettled):
		to.err = errModified
	case flags != r.Flags:
		to.from = entry{where: r.Where, name: m.t.FileName(n)}
		to.to = filename.WithFlags(to.from.name, flags)
		to.dated = r.Saved != 0
	}
	return to
}

// renameOne renames one file, if necessary. It returns false if other renames are bound to
// fail too.
func (m *Mailbox) renameOne(r *renaming) bool {
	if r.to == "" {
		return true
	}
	if !r.dated {
		if st, err := m.dirs.lstat(r.from); err == nil {
			r.saved = unixSeconds(st.Ctime) // the rename changes it
		}
	}
	to := entry{where: table.InCur, name: r.to}
	if r.err = m.dirs.move(r.from, to); r.err != nil {
		return r.elsewhere()
	}
	m.secondNames.remove(r.n, to)
	return true
}

// takeRenamings enters the results of renameOne in the table.
func (m *Mailbox) takeRenamings(batch []renaming, v *View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range batch {
		r := &batch[i]
		if r.to == "" || r.err != nil {
			continue
		}
		row := m.t.Row(r.n)
		before := row.Flags
		if row.Saved == 0 {
			m.setSaved(r.n, r.saved)
		}
		m.setName(r.n, entry{where: table.InCur, name: r.to})
		m.flagsChanged(r.n, before)
		m.tellFlags(r.n, v)
	}
}

// setFlags changes the flags of one file that others have moved away from tried.
func (m *Mailbox) setFlags(n uint32, tried entry, v *View, ch flagChange) error {
	for range retries {
		// Whoever moved one file usually moved many, and one listing finds all of them. The
		// lock is already held.
		if m.placeOf(n) == tried {
			if err := m.rescan(n); err != nil {
				return err
			}
		}
		m.mu.RLock()
		one := []renaming{m.renamingOf(n, ch)}
		m.mu.RUnlock()
		tried = one[0].from
		arrived := m.events.expect()
		m.renameOne(&one[0])
		m.takeRenamings(one, v)
		arrived()
		if !one[0].elsewhere() {
			return one[0].err
		}
	}
	return ErrBusy
}

// placeOf returns where a row's file is, as far as the table knows.
func (m *Mailbox) placeOf(n uint32) entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return entry{where: m.t.Row(n).Where, name: m.t.FileName(n)}
}

// rescan searches for the file of row n in both directories. The uidlist's lock is held, so
// Dovecot changes nothing; other programs may.
func (m *Mailbox) rescan(n uint32) error {
	defer m.events.expect()()
	p, err := m.listOnce()
	if err != nil {
		return err
	}
	m.events.orderScan() // the other changes are processed after the lock is released
	for _, gone := range p.missing {
		if gone == n && !m.stillThere(n) {
			return ErrGone
		}
	}
	return nil
}
