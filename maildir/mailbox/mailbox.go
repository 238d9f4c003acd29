package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/history"
	"maildird/maildir/keywords"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/quota"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// Errors that callers distinguish.
var (
	// ErrGone means that the message's file no longer exists.
	ErrGone = errors.New("message is gone")
	// ErrBusy means that the message exists, but not where it was whenever this process
	// looked, or that it is not known where as long as another program holds the lock, or that
	// another session has been working on the mailbox for a minute.
	ErrBusy = errors.New("other programs keep renaming the message's file, or hold the lock")
	// ErrReplaced means that the folder was removed or replaced by another one (its
	// UIDVALIDITY changed) while it was open. It has to be opened again.
	ErrReplaced = errors.New("mailbox was removed or replaced")
	// ErrKeywords means that all 26 keyword letters of the folder are in use.
	ErrKeywords = errors.New("no room for another keyword in this mailbox")
	// ErrNoUID means that the folder has assigned its last UID (2^32-2).
	ErrNoUID = errors.New("the UIDs of this mailbox are used up, move its messages to a new one")
	// ErrReadOnly means that the view or the file system does not allow changes.
	ErrReadOnly = errors.New("mailbox is read-only")
)

const (
	uidlistLock = "dovecot-uidlist.lock"
	uidlistName = uidlist.Name
)

// Env is what all mailboxes of a process share.
type Env struct {
	Log      *slog.Logger
	Watcher  *watch.Watcher
	Locker   *dotlock.Locker
	Delivery *delivery.Options
	Now      func() time.Time
	Fsync    bool

	Cache   *cache.Store // nil: what is read of messages is not cached
	Account string       // path of the Maildir that the mailboxes belong to
	// Scratch limits the temporary disk space that the account's open messages use.
	Scratch *compress.Scratch
}

// Mailbox is one open folder, shared by all sessions that have it selected. It is safe for
// concurrent use. Its fields are grouped by what guards them; the types of most say what
// belongs together.
type Mailbox struct {
	// Set before the mailbox has a user, and not changed after.
	env          *Env
	dir          *dirfd.Dir
	nextValidity nextValidity
	leadsHere    func() bool  // whether the mailbox's name still leads to this folder; nil: it does
	quota        *quota.Quota // counts the mail that comes and goes; nil: not counted
	// shortList is how many records the uidlist may have without being rewritten for the only
	// reason that messages were removed.
	shortList int

	// These may be used at any time.
	events     eventQueue // what others did and nobody has looked at yet
	last       lastLook   // what the directories were like then
	alarms     alarms     // wake the sessions later
	nameChecks pace       // of leadsHere
	tempChecks pace       // of old files in tmp/
	texts      texts      // what the cache has of the messages

	// sync (capacity 1) is held while examining or changing the files. It guards what this
	// process has read of them, or is yet to do with them, up to mu.
	sync          chan struct{}
	loaded        bool // the folder has been scanned
	dirs          mailDirs
	list          *uidlist.File
	words         *keywords.Table
	hist          *history.File
	validityAhead nextValidity // nil, or returns what nextValidity would: see takeValidityAhead
	unlisted      []uint32     // rows with a file of which a list that another program wrote has no record
	secondNames   secondNames
	backlog       backlog
	uidsExhausted bool // new mail is left out for good because no UIDs are left
	snap          snapshots
	watch         watching
	// unwritable is set if no lock can be created (read-only file system, no permission): the
	// mailbox is served as it is and not changed. It is changed with mu held too, so that
	// holding either is enough to read it.
	unwritable bool

	// mu guards what sessions are told, and is only held briefly. Messages come, go and get
	// other names and flags in t only while sync is held too: whoever holds sync may read
	// these without mu.
	mu       sync.RWMutex
	t        *table.Table
	names    letterNames
	head     listHead
	modseqs  modseqs
	dates    saveDates
	newMail  newMail
	views    map[*View]struct{}
	copied   bool // see IsCopy
	replaced bool // the mailbox has ended: see ErrReplaced
}

// nextValidity allocates a UIDVALIDITY for a folder that has no usable one. The value is
// reserved durably once settle (nil: nothing to do) has returned.
type nextValidity = func() (validity uint32, settle func() error, err error)

// New opens the folder dir, of which the Mailbox takes ownership, and reads it. It returns
// ErrReplaced if the folder has no new, cur or tmp directory any more. New calls
// nextValidity, and settle, in any goroutine if the folder has no UIDVALIDITY. leadsHere is
// called now and then to check that the mailbox's name still leads to dir, as it did just
// before the call.
func New(ctx context.Context, env *Env, dir *dirfd.Dir, nextValidity nextValidity, leadsHere func() bool) (*Mailbox, error) {
	dirs, err := delivery.FindDirs(dir)
	// What is missing now existed just before: a folder that is being deleted must not be
	// recreated.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Mailbox{
		env: env, dir: dir, dirs: mailDirs{Dirs: dirs, fsync: env.Fsync}, nextValidity: nextValidity, leadsHere: leadsHere,
		sync: make(chan struct{}, 1), views: map[*View]struct{}{}, texts: newTexts(env.Cache),
	}
	m.blank()
	m.watch.watcher, m.watch.dirs, m.watch.muteFrom = env.Watcher, &m.dirs, muteFrom
	m.watch.log, m.watch.event, m.watch.poll = env.Log.With("mailbox", m.Path()), m.event, m.wakeIfChanged
	m.alarms = newAlarms(m.wake)
	m.shortList = shortList
	opened := false
	defer func() { // also after a panic
		if !opened {
			m.Close()
		}
	}()
	m.nameChecks.done(env.Now()) // dir was just looked up by its name
	resumed := m.openSnapshot()
	if m.loaded {
		m.watchSoon()
	} else { // the first scan waits for the watch, so that nothing is missed between them
		m.watch.begin()
	}
	err = m.Poll(ctx)
	if err != nil && resumed {
		m.startOver()
		err = m.Poll(ctx)
	}
	if err != nil {
		return nil, err
	}
	opened = true
	return m, nil
}

// blank sets what is known of the messages to nothing, as before the first look. m.sync and
// m.mu are held, or nobody else has the mailbox.
func (m *Mailbox) blank() {
	m.list = uidlist.New(m.dir, uidlist.Options{Fsync: m.env.Fsync, Log: m.env.Log, Now: m.env.Now})
	m.words = keywords.New(m.dir, m.env.Fsync)
	m.hist = history.New(m.dir, history.Options{Fsync: m.env.Fsync, Log: m.env.Log, Now: m.env.Now})
	m.t, m.names, m.head = table.New(), letterNames{}, listHead{}
	m.newMail.rows, m.secondNames, m.unlisted = map[uint32]struct{}{}, secondNames{}, nil
	m.dates = saveDates{}
	m.modseqs = newModseqs(m.t)
}

// Close releases all resources. No view may be open.
func (m *Mailbox) Close() {
	defer func() { // also after a panic
		m.watch.end()
		m.alarms.stop()
		m.closeCache()
		m.t.Close()
		m.dirs.Close()
		_ = m.dir.Close()
	}()
	m.closeSnapshot()
}

// Retire ends the mailbox for all its users and releases its watches, so that the folder
// can be opened again. The caller still has to call Close.
func (m *Mailbox) Retire() {
	m.markReplaced()
	m.watch.wait()
	m.sync <- struct{}{}
	defer m.release()
	m.watch.retire()
}

// Replaced reports whether the mailbox has ended, in which case Poll returns ErrReplaced.
func (m *Mailbox) Replaced() bool {
	if m.checkName() != nil {
		return true
	}
	now, err := m.readTimes()
	if err != nil {
		return errors.Is(err, ErrReplaced)
	}
	if now.list == m.last.get().list {
		return false
	}
	is, was := uidlist.ValidityOf(m.dir), m.UIDValidity()
	if is == 0 || was == 0 || is == was {
		return false
	}
	m.validityChanged(is)
	return true
}

// validityChanged ends the mailbox because another program gave it a new UIDVALIDITY.
func (m *Mailbox) validityChanged(now uint32) {
	m.env.Log.Warn("another program gave the mailbox a new UIDVALIDITY", "mailbox", m.Path(), "old", m.UIDValidity(), "new", now)
	m.markReplaced()
}

// WorthKeeping reports whether the mailbox is worth keeping open without a view: events
// keep it in step, and most rows of its table are existing messages.
func (m *Mailbox) WorthKeeping() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.watch.kept.Load() && !m.replaced && m.t.Len() <= 2*m.t.Count()+1000
}

// CountIn makes the mailbox count the mail that comes and goes in a quota, which several
// mailboxes share. It must be called before any other method.
func (m *Mailbox) CountIn(q *quota.Quota) { m.quota = q }

// room returns quota.ErrOver if the quota has no room for that many more bytes and
// messages.
func (m *Mailbox) room(bytes, messages int64) error {
	if m.quota == nil {
		return nil
	}
	return m.quota.Room(bytes, messages)
}

// counts reports whether the mail that comes and goes is counted.
func (m *Mailbox) counts() bool { return m.quota != nil && m.quota.Kept() }

// count adds messages that came, or subtracts those that went. An error is only logged: it
// does not affect the files themselves.
func (m *Mailbox) count(bytes int64, messages int) {
	if err := m.quota.Add(bytes, messages); err != nil {
		m.env.Log.Warn("cannot count mail in maildirsize", "mailbox", m.Path(), "error", err)
	}
}

// Path returns the folder's path, for messages to people.
func (m *Mailbox) Path() string { return m.dir.Path() }

// UIDValidity returns the mailbox's UIDVALIDITY.
func (m *Mailbox) UIDValidity() uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.head.validity
}

// UIDNext returns a lower bound for the UID of the next new message.
func (m *Mailbox) UIDNext() uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.head.next
}

// markReplaced ends the mailbox for all sessions that have it open: their next Poll returns
// ErrReplaced.
func (m *Mailbox) markReplaced() {
	m.mu.Lock()
	m.replaced = true
	m.mu.Unlock()
	m.wake()
}

// NewView opens a view of the mailbox in its current state. notify is called from other
// goroutines, without locks held, when Updates may have news; it must not block. When ctx
// ends, reading messages through the view no longer waits for anything. A view that is not
// read-only moves new mail to cur/ and claims it as \Recent.
func (m *Mailbox) NewView(ctx context.Context, readOnly bool, notify func()) (*View, error) {
	if !readOnly {
		m.mu.RLock()
		unwritable := m.unwritable
		m.mu.RUnlock()
		if unwritable || m.dir.Writable() != nil {
			m.events.orderScan() // a look finds out, under the lock
		}
	}
	err := m.Poll(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	v := &View{m: m, ctx: ctx, readOnly: readOnly || m.unwritable, notify: notify}
	m.views[v] = struct{}{}
	m.modseqs.showAll()
	v.grow()
	m.newMail.all = m.newMail.all || !v.readOnly
	m.mu.Unlock()
	if !v.readOnly {
		m.cleanTemp()
		if m.newMailToMove() { // now that somebody reads it
			err = m.Poll(ctx)
		}
	}
	if err == nil {
		_, err = m.settled(ctx)
	}
	if err != nil {
		v.Close()
		return nil, err
	}
	m.mu.Lock()
	m.newMail.all = false
	v.grow()
	v.told = m.modseqs.highest
	m.mu.Unlock()
	return v, nil
}

// Poll brings the table in step with the files, like Mailbox.Poll.
func (v *View) Poll(ctx context.Context) error { return v.m.Poll(ctx) }

// acquire locks m.sync. Whoever has it may be waiting for a disk that does not respond: acquire
// then returns ErrBusy, so that clients that try again and again do not pile up.
func (m *Mailbox) acquire(ctx context.Context) error { return m.acquireWithin(ctx, changePatience) }

func (m *Mailbox) acquireWithin(ctx context.Context, patience time.Duration) error {
	select {
	case m.sync <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case m.sync <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ErrBusy
	}
}

func (m *Mailbox) release() { <-m.sync }

// errNoLock means that no lock can be created in the folder at all.
var errNoLock = errors.New("mailbox cannot be locked")

// locked runs f while holding dovecot-uidlist.lock, after reading the uidlist up to its
// end. It waits for the lock no longer than patience. m.sync is held.
func (m *Mailbox) locked(ctx context.Context, patience time.Duration, f func(*dotlock.Lock) error) (err error) {
	lock, err := m.env.Locker.Acquire(ctx, m.dir, uidlistLock, dotlock.Options{Timeout: patience, Watch: []string{uidlistName}})
	if err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
			return fmt.Errorf("%w: %w", errNoLock, err)
		case isFull(err):
			return fmt.Errorf("%w: %w", errNoRoom, err)
		case errors.Is(err, fs.ErrNotExist): // the folder itself was removed while it was open
			m.markReplaced()
			return fmt.Errorf("%w: %w", ErrReplaced, err)
		}
		return err
	}
	// Deferred to run after a panic too, which ends one session but not the mailbox.
	defer func() {
		rerr := lock.Release()
		if err == nil && errors.Is(rerr, dotlock.ErrStolen) {
			err, rerr = rerr, nil
		}
		err = m.endIfReplaced(err)
		if rerr != nil && !errors.Is(m.endIfReplaced(rerr), ErrReplaced) { // whoever wants the lock next removes it
			m.env.Log.Error("the mailbox's lock cannot be removed", "mailbox", m.Path(), "error", rerr)
		}
	}()
	m.mu.Lock()
	m.unwritable = false // it may have been set temporarily
	m.mu.Unlock()
	known := m.t.Len()
	err = m.readList()
	if err == nil {
		err = m.putBack()
	}
	if err == nil && m.loaded && (m.t.Len() > known || len(m.unlisted) > 0) {
		err = m.resolve(ctx, lock, known)
	}
	if err == nil {
		err = f(lock)
	}
	return err
}

// putBack raises the next UID of a folder that was restored from a snapshot. The uidlist's
// lock is held.
func (m *Mailbox) putBack() error {
	h := m.list.Header()
	if !h.IsCopy() {
		return nil
	}
	if err := m.list.PutBack(m.env.Now()); err != nil {
		if isFull(err) {
			err = fmt.Errorf("%w: %w", errNoRoom, err)
		}
		return err
	}
	m.env.Log.Info("the mailbox was restored from a snapshot", "mailbox", m.Path(), "uidnext", m.list.Header().NextUID, "before", h.NextUID)
	m.takeHead()
	return nil
}

// Broken tells whether a part of what the cache had of the messages could not be read:
// what was told of them, or done with them, may not have been all since an unknown time.
// Poll gives ErrReplaced then, and the folder can be opened anew.
func (m *Mailbox) Broken() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.t.Broken()
}

// check returns ErrReplaced if the mailbox has ended.
func (m *Mailbox) check() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.replaced || m.t.Broken() {
		return ErrReplaced
	}
	return nil
}
