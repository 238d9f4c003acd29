package mailbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"maildird/maildir/contain"
	"maildird/maildir/dirfd"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/octets"
)

// A snapshot is a file in the cache with the state of an open mailbox. Opening the folder
// with it continues from that state, as if the folder had been open all the time without
// events: changes since then are found by comparing the times of new/ and cur/, which are
// listed once if these differ, and by reading what was appended to dovecot-uidlist and the
// history. If those two files were replaced, the snapshot is not used.
//
// A snapshot is valid only for the same directories, identified by their inode numbers.
// They need not be listed if their times are unchanged too, including the change time, which
// nobody can set back. A crash of the machine may leave any part of a file that was not
// synced. Therefore the whole file is verified if the machine was restarted since it was
// written, or if it does not have the modification time that it was given; otherwise each
// part is verified when it is read. In case of any doubt, the folder is opened without the
// snapshot.

// snapshots is what a mailbox knows of its snapshot. It is guarded by m.sync.
type snapshots struct {
	name    string // in the cache; "": there is no cache
	run     uint64 // identifies the current run of the machine
	state   []byte // the state in the snapshot; nil if there is no valid one
	written time.Time
	timer   *time.Timer
	closed  bool
}

const (
	// snapshotAge is when an unchanged snapshot is written again, so that the cache does
	// not remove it as unused.
	snapshotAge = 24 * time.Hour
	// snapshotDelay is how long after a large change a snapshot is written.
	snapshotDelay = 20 * time.Second
	largeChange   = 2000
)

// openSnapshot determines the name of the folder's snapshot and takes over its contents if
// it is valid.
func (m *Mailbox) openSnapshot() (ok bool) {
	if m.env.Cache == nil || !m.env.Cache.Keeps() {
		return false
	}
	st, err := m.dir.Stat()
	if err != nil {
		return false
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "table\x00%s\x00%d\x00%d", m.env.Account, st.Dev, st.Ino))
	m.snap.run = history.RunOfMachine()
	m.snap.name = hex.EncodeToString(sum[:16])
	file, err := m.env.Cache.OpenWhole(m.snap.name)
	if err != nil {
		return false
	}
	var s *state
	t, raw, whole, err := table.Read(file, m.snap.run, func(d *octets.Decoder) { s = takeState(d) },
		m.snapshotLost)
	if err == nil && (whole && s.run != m.snap.run || !s.fits(t.Len())) {
		err = table.ErrDamaged
	}
	if err != nil {
		_ = file.Close()
		m.env.Log.Info("the mailbox's snapshot cannot be used, reading the folder", "mailbox", m.Path(), "error", err)
		return false
	}
	if !m.resume(s, t) {
		t.Close()
		m.startOver()
		return false
	}
	m.snap.state = raw
	if st, err := file.Stat(); err == nil {
		m.snap.written = st.ModTime()
	}
	return true
}

// snapshotLost is called when a part of the snapshot cannot be read that was not needed
// before: the mailbox is Broken from then on.
func (m *Mailbox) snapshotLost(err error) {
	m.env.Cache.RemoveWhole(m.snap.name)
	m.env.Log.Warn("the mailbox's snapshot cannot be read any more, its sessions end", "mailbox", m.Path(), "error", err)
}

// resume takes over a snapshot if it belongs to this folder.
func (m *Mailbox) resume(s *state, t *table.Table) bool {
	if s.run != m.snap.run && !m.env.Fsync {
		return false
	}
	root, err := m.dir.Stat()
	if err != nil || s.folder != root.ID() {
		return false
	}
	now, err := m.readTimes()
	if err != nil || now.new.ID != s.new.ID || now.cur.ID != s.cur.ID {
		return false
	}
	ok, sameList := m.list.Recall(s.list)
	if !ok || m.list.Header().UIDValidity != s.validity {
		return false
	}
	ok, sameHistory := m.hist.Recall(s.hist, s.validity)
	if !ok {
		return false
	}
	if _, err := m.words.Refresh(); err != nil {
		return false
	}
	m.mu.Lock()
	m.t, m.names = t, s.names
	m.head = listHead{s.validity, s.guid, s.uidNext}
	for _, n := range s.inNew {
		m.newMail.rows[n] = struct{}{}
	}
	m.modseqs = newModseqs(t)
	q := &m.modseqs
	q.highest, q.accounted, q.kept, q.begun = s.highest, s.accounted, true, true
	q.unsettled, q.past = s.unsettled, true
	m.dates.unwritten = s.dated
	for _, p := range s.was {
		q.was[p.row] = p.flags
	}
	for _, uid := range s.strays {
		q.strays[uid] = struct{}{}
	}
	m.mu.Unlock()
	m.takeKeywords()
	// If nothing can be written, a look has to find that out.
	if s.settled && sameList && sameHistory && now.new == s.new && now.cur == s.cur && m.dir.Writable() == nil {
		m.loaded = true
		now.racy = false // it was not when the snapshot was made
		m.setTimes(now)
	}
	return true
}

// startOver discards everything that was taken from a snapshot.
func (m *Mailbox) startOver() {
	m.sync <- struct{}{} // the watch may be starting right now
	defer m.release()
	m.t.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blank()
	m.loaded, m.replaced = false, false
	m.snap.state = nil
	m.last.times.Store(nil)
	m.nameChecks.again()
	m.events.orderScan()
}

// keepSnapshot writes a snapshot, or removes it, unless the existing one is up to date.
// m.sync is held.
func (m *Mailbox) keepSnapshot() {
	s := &m.snap
	if s.name == "" {
		return
	}
	now := m.env.Now()
	st, ok := m.snapshot()
	if !ok {
		// If only the first frame in this run of the machine is missing, since nobody asked for
		// mod-sequences, the snapshot of the last run still holds.
		if s.state != nil && !m.hist.EndLost() {
			s.state = nil
			m.env.Cache.RemoveWhole(s.name)
		}
		return
	}
	raw := st.encode()
	m.mu.Lock() // a view that is opened meanwhile claims messages
	changed := m.t.TakeChanges()
	m.mu.Unlock()
	if changed == 0 && bytes.Equal(raw, s.state) && now.Sub(s.written).Abs() < snapshotAge {
		return
	}
	err := m.env.Cache.ReplaceWhole(s.name, now, func(f *os.File) error { return m.writeSnapshot(f, now, st, raw) })
	if err != nil {
		s.state = nil
		m.env.Cache.RemoveWhole(s.name) // it is out of date
		m.env.Log.Debug("no snapshot of the mailbox was written", "mailbox", m.Path(), "error", err)
		return
	}
	s.state, s.written = raw, now
}

// writeSnapshot writes a snapshot of the table with a state that was taken before. m.sync is
// held.
func (m *Mailbox) writeSnapshot(f *os.File, now time.Time, st *state, raw []byte) error {
	m.mu.RLock()
	t := m.t
	m.mu.RUnlock()
	if err := t.Write(f, raw, now.UnixNano(), st.run, m.mu.RLocker()); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.dates.unwritten) != len(st.dated) { // found by whoever does not hold m.sync, such as a copy to another mailbox
		return errDated
	}
	return nil
}

var errDated = errors.New("save dates were found while the snapshot was written")

// snapshot returns the state of the mailbox. ok is false if it could not be resumed,
// because what is not in the files would be lost. m.sync is held.
func (m *Mailbox) snapshot() (s *state, ok bool) {
	if !m.loaded || m.unwritable || !m.backlog.empty() || m.check() != nil || len(m.unlisted) > 0 || !m.modseqs.begun || m.t.Broken() {
		return nil, false
	}
	root, err := m.dir.Stat()
	if err != nil {
		return nil, false
	}
	now, err := m.readTimes()
	if err != nil {
		return nil, false
	}
	s = &state{run: m.snap.run, folder: root.ID(), new: now.new, cur: now.cur}
	if m.watch.on {
		// What happened before the times were read is in the queue after this.
		all := m.env.Watcher.Barrier(context.Background())
		m.forgetReplaced()
		s.settled = all && m.events.empty()
	} else {
		last := m.last.get()
		s.settled = last.same(&now) && !last.racy
	}
	s.settled = s.settled && !now.racy && len(m.secondNames) == 0
	if s.list, ok = m.list.Memo(); !ok {
		return nil, false
	}
	if s.hist, ok = m.hist.Memo(); !ok {
		return nil, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.t.Count() == 0 || m.t.Len() > 2*m.t.Count()+1000 || m.t.Len() > table.MaxRows || m.head.validity != m.list.Header().UIDValidity {
		return nil, false
	}
	s.names, s.validity, s.guid, s.uidNext = m.names, m.head.validity, m.head.guid, m.head.next
	s.inNew = sortedKeys(m.newMail.rows)
	q := &m.modseqs
	s.highest, s.accounted = q.highest, q.accounted
	s.unsettled, s.dated = q.unsettled, m.dates.unwritten
	for _, n := range sortedKeys(q.was) {
		s.was = append(s.was, pastFlags{n, q.was[n]})
	}
	s.strays = sortedKeys(q.strays)
	return s, true
}

// snapshotLater schedules writing a snapshot if much has changed since the last one, so
// that the folder can be opened quickly even after a crash.
func (m *Mailbox) snapshotLater() {
	if m.snap.name == "" {
		return
	}
	m.mu.RLock()
	large := m.t.Changes() >= largeChange && m.t.Changes() >= m.t.Len()/2
	m.mu.RUnlock()
	if !large || m.snap.timer != nil {
		return
	}
	m.snap.timer = time.AfterFunc(snapshotDelay, func() {
		contain.Run(m.env.Log, "panic while the state of a mailbox was kept", func() {
			m.sync <- struct{}{}
			defer m.release()
			m.snap.timer = nil
			if !m.snap.closed {
				m.keepSnapshot()
			}
		})
	})
}

// closeSnapshot writes the last snapshot.
func (m *Mailbox) closeSnapshot() {
	m.sync <- struct{}{}
	defer m.release()
	m.snap.closed = true
	if m.snap.timer != nil {
		m.snap.timer.Stop()
	}
	if m.snap.name != "" {
		m.waitOutGranularity()
	}
	m.keepSnapshot()
}

// waitOutGranularity waits until later changes show in the times of the directories and of the
// uidlist, if that does not take long: most people who stop the server have just used it.
func (m *Mailbox) waitOutGranularity() {
	t, err := m.readTimes()
	if err != nil {
		return
	}
	for _, last := range []time.Time{t.new.modified(), t.cur.modified(), t.list.Time()} {
		if age := m.env.Now().Sub(last); age >= 0 && age < dirfd.FineGrain {
			time.Sleep(dirfd.FineGrain - age)
		}
	}
}
