package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/mailbox/table"
)

const (
	// lockPatience limits how long a look at the files waits for another program's lock.
	// After that, the session continues with what it knows, and the next look tries again.
	lockPatience = time.Second
	// turnPatience limits how long a look waits for other sessions that work on the mailbox. After
	// that, the session continues with what it knows.
	turnPatience = 10 * time.Second
	// changePatience limits the wait for the lock, and for other sessions, for a change that a user
	// asked for.
	changePatience = time.Minute
	// pollInterval is how often an unwatched mailbox is checked on behalf of idle sessions,
	// and how soon any mailbox is checked again after a look at its files failed.
	pollInterval = 2 * time.Second
	// nameInterval is how often it is checked that the mailbox's name still leads to this
	// folder.
	nameInterval = time.Second
)

// Poll brings the table in step with the files. It costs four system calls when nothing has
// changed. It returns ErrReplaced if the mailbox has ended, the context's error, or an I/O
// error; the table is unchanged then.
func (m *Mailbox) Poll(ctx context.Context) error {
	if err := m.checkName(); err != nil {
		return err
	}
	if m.quiet() {
		return nil
	}
	switch err := m.acquireWithin(ctx, turnPatience); {
	case errors.Is(err, ErrBusy) && m.UIDValidity() != 0: // 0: nothing is known yet
		return m.check()
	case err != nil:
		return err
	}
	defer m.release()
	if m.quiet() {
		return nil
	}
	switch err := m.look(ctx); {
	case errors.Is(err, errPutOff): // all sessions are woken in a while
		return m.check()
	case err != nil:
		return m.endIfReplaced(err)
	}
	m.wakeThoseWithNews()
	if !m.events.empty() {
		m.wake() // other programs changed files during the look
	}
	return m.check()
}

// checkName returns ErrReplaced if the mailbox's name now leads to another folder, or
// nowhere, or if the folder's new/ or cur/ was replaced.
func (m *Mailbox) checkName() error {
	if m.nameChecks.due(m.env.Now(), nameInterval) && !m.isHere() {
		m.markReplaced()
	}
	return m.check()
}

// isHere reports whether the mailbox's name leads to this folder, and this folder contains
// the directories that are open.
func (m *Mailbox) isHere() bool { return (m.leadsHere == nil || m.leadsHere()) && m.hasDirs() }

// endIfReplaced ends the mailbox and returns ErrReplaced if an operation failed with err
// because the folder was removed or replaced, and its files, including the lock, with it.
// That is caused by a user's DELETE or RENAME, and is not a fault to report. Otherwise, it
// returns err.
func (m *Mailbox) endIfReplaced(err error) error {
	if err == nil || errors.Is(err, ErrReplaced) {
		return err
	}
	for looks := 0; ; looks++ {
		if m.leadsHere != nil {
			m.env.Watcher.Barrier(context.Background()) // leadsHere may learn of the name by events
		}
		if !m.isHere() {
			m.markReplaced()
			return fmt.Errorf("%w: %w", ErrReplaced, err)
		}
		// rm -r may remove the lock first and the directories a moment later.
		if !errors.Is(err, dotlock.ErrStolen) || looks == looksForRemoval {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// looksForRemoval is how often endIfReplaced checks whether the folder of a lock that was removed
// is removed too, before it reports an error.
const looksForRemoval = 25

// hasDirs reports whether new/ and cur/ of the folder are the directories that are open. If
// somebody moved one away and created a new one, the new one is served once the folder is
// opened again.
func (m *Mailbox) hasDirs() bool {
	for name, dir := range map[string]*dirfd.Dir{"new": m.dirs.New, "cur": m.dirs.Cur} {
		st, err := m.dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if id, idErr := dir.ID(); err == nil && idErr == nil && st.ID() != id {
			return false
		}
	}
	return true
}

// NameChanged notes that a folder of the tree was renamed, created or removed: the next
// Poll checks the name at once.
func (m *Mailbox) NameChanged() {
	m.nameChecks.again()
	m.wake()
}

// quiet reports whether nothing can have changed since the last look.
func (m *Mailbox) quiet() bool {
	if !m.events.empty() || m.newMailToMove() || m.mustSettle() {
		return false
	}
	known := m.last.get()
	if known.at.IsZero() { // nobody has looked yet
		return false
	}
	now, err := m.readTimes()
	// If the folder is watched, events also report changes that the granularity of the
	// times hides. One of them may still be on its way: look waits for it.
	return err == nil && known.same(&now) && known.list == now.list && known.words == now.words && !known.racy
}

// look brings the table in step with the files. m.sync is held. After an error, the
// sessions are woken in a while to look again, because no event will do it. errPutOff means
// that nothing is wrong, but that the look has to wait.
func (m *Mailbox) look(ctx context.Context) error {
	err := m.lookNow(ctx)
	if err != nil {
		m.events.orderScan()
		m.alarms.set(lookAlarm, pollInterval)
		return err
	}
	m.snapshotLater()
	return nil
}

func (m *Mailbox) lookNow(ctx context.Context) error {
	now, err := m.readTimes()
	if err != nil {
		return err
	}
	if m.watch.on && m.loaded {
		m.awaitEvents(ctx) // for what happened before the times were read
	}
	m.forgetReplaced()
	if now.words != m.words.Stamp() { // a letter in file names may have got its name
		if err := m.readKeywords(); err != nil {
			return err
		}
	}
	changed := m.events.take()
	scan := changed.all || !m.loaded || !m.watch.on
	if !scan {
		scan, err = m.follow(changed, nil)
		known, ok := m.list.Stamp()
		if err == nil && !scan && ok && known == now.list && !m.untidy() && !m.newMailToMove() && !m.mustSettle() {
			m.setTimes(now)
			return nil
		}
		if err != nil && !errors.Is(err, errNeedLock) {
			return err
		}
	}
	return m.underLock(ctx, func(lock *dotlock.Lock) error {
		return m.lookLocked(ctx, lock, changed, scan, now)
	})
}

// awaitEvents makes sure that everything that happened before the call is in the queue. If
// events lag behind, it orders a scan.
func (m *Mailbox) awaitEvents(ctx context.Context) {
	if !m.env.Watcher.Barrier(ctx) {
		m.events.orderScan()
	}
}

// followAll is follow for everything that happened before the call. scan is also true if
// events were lost.
func (m *Mailbox) followAll(ctx context.Context, lock *dotlock.Lock) (scan bool, err error) {
	m.awaitEvents(ctx)
	changed := m.events.take()
	scan, err = m.follow(changed, lock)
	return scan || changed.all, err
}

// errPutOff means that a look could not be finished and will be repeated later.
var errPutOff = errors.New("the look is put off")

// lookLocked is the part of lookNow that runs under the uidlist's lock, or with a nil lock
// if there can be none: it processes what changed, or scans, and does the work that depends
// on the list. now has the directories' times from before.
func (m *Mailbox) lookLocked(ctx context.Context, lock *dotlock.Lock, changed changes, scan bool, now dirTimes) (err error) {
	if !m.loaded {
		defer func() {
			err = errors.Join(err, m.list.Settle()) // before anybody is told a UID
		}()
	}
	if !scan && lock != nil {
		more, err := m.follow(changed, lock)
		if err != nil {
			return err
		}
		scan = more
		m.setTimes(now)
	}
	m.backlog.begin()
	if scan || lock == nil {
		if !m.loaded && lock != nil {
			if m.list.Header().UIDValidity == 0 {
				defer m.takeValidityAhead()()
			}
			if _, err := m.readHistory(); err != nil {
				return err
			}
		}
		if err := m.scan(ctx, lock); err != nil {
			return err
		}
		m.loaded = true
	}
	late := m.backlog.takeIncomplete()
	if lock != nil {
		m.dropSecond()
		if err := m.moveNew(lock); err != nil {
			return err
		}
		if err := m.tidy(); err != nil {
			return err
		}
		if err := m.settle(ctx, lock); err != nil {
			return err
		}
	}
	if late {
		return errPutOff
	}
	if lock != nil && m.backlog.end() {
		m.env.Log.Info("there is room on the file system again", "mailbox", m.Path())
	}
	return nil
}

// resolve compares with the files what another program wrote to the list. The files of
// records that were just added have to be found before anything is added after them: a
// message that turns up late, with a lower UID than one that a client knows, would need a
// different UID than the other program gave it. A message that is missing from a new list
// is usually gone: it was removed before the list was written, and the event that says so
// may arrive after it. The uidlist's lock is held.
func (m *Mailbox) resolve(ctx context.Context, lock *dotlock.Lock, known uint32) error {
	if m.watch.on {
		scan, err := m.followAll(ctx, lock)
		if err != nil || scan {
			m.events.orderScan()
		}
		if err != nil {
			return err
		}
	}
	for n := known; n < m.t.Len(); n++ {
		if m.t.Row(n).State == table.Absent {
			return m.scan(ctx, lock)
		}
	}
	for _, n := range m.unlisted {
		if m.t.Row(n).State == table.Present && !m.stillThere(n) {
			return m.scan(ctx, lock)
		}
	}
	return nil
}

// underLock runs f under the uidlist's lock, or with a nil lock if none can be created. If
// another program holds the lock for too long, the look is postponed (errPutOff), except
// for the first one, which needs the lock.
func (m *Mailbox) underLock(ctx context.Context, f func(*dotlock.Lock) error) error {
	patience := lockPatience
	if !m.loaded {
		patience = changePatience
	}
	err := m.locked(ctx, patience, f)
	switch {
	case err == nil, errors.Is(err, ErrReplaced):
		return err
	case errors.Is(err, errNoRoom):
		m.postpone(err)
		if m.loaded {
			return errPutOff
		}
		if rerr := m.readList(); rerr != nil {
			return rerr
		}
		if m.list.Header().UIDValidity == 0 {
			return err
		}
		m.backlog.incomplete = true
		return f(nil)
	case errors.Is(err, dotlock.ErrLocked) && m.loaded:
		m.env.Log.Info("mailbox is locked by another program, looking again later", "mailbox", m.Path(), "error", err)
		return errPutOff
	case errors.Is(err, errNoLock):
		m.cannotWrite(err)
		if err := m.readList(); err != nil {
			return err
		}
		return f(nil)
	}
	return err
}

// cannotWrite notes that the mailbox is served read-only. What changes meanwhile gets no
// mod-sequence.
func (m *Mailbox) cannotWrite(err error) {
	m.mu.Lock()
	was := m.unwritable
	m.unwritable = true
	m.modseqs.kept = false
	m.modseqs.showAll()
	m.mu.Unlock()
	if !was {
		m.env.Log.Warn("mailbox cannot be written and is served read-only", "mailbox", m.Path(), "error", err)
	}
}

// watchSoon requests events for a folder that does not have to be listed.
func (m *Mailbox) watchSoon() {
	m.watch.beginLater(func(set func() bool) {
		m.sync <- struct{}{}
		defer m.release()
		if !set() {
			return
		}
		// What happened before the watch started shows in the times.
		was := m.last.get()
		if now, err := m.readTimes(); err != nil || was.racy || !was.same(&now) {
			m.events.orderScan()
			m.wake()
		}
	})
}

// wakeIfChanged wakes the sessions if a look would find something.
func (m *Mailbox) wakeIfChanged() {
	if !m.quiet() || m.checkName() != nil {
		m.wake()
	}
}
