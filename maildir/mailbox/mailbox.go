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
	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/keywords"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/quota"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// Errors that callers tell apart.
var (
	// ErrGone says that the message's file is not there any more.
	ErrGone = errors.New("message is gone")
	// ErrReplaced says that the folder was removed, or replaced by another one
	// (its UIDVALIDITY changed), while it was open. Open it anew.
	ErrReplaced = errors.New("mailbox was removed or replaced")
	// ErrKeywords says that the folder's 26 keyword letters are all in use.
	ErrKeywords = errors.New("no room for another keyword in this mailbox")
	// ErrNoUID says that the folder has given out its last UID (2^32-2).
	ErrNoUID = errors.New("the UIDs of this mailbox are used up, move its messages to a new one")
	// ErrReadOnly says that the view or the file system does not allow changes.
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

	Cache   *cache.Store // nil: what was read of messages is not kept
	Account string       // path of the Maildir that the mailboxes belong to
	// Scratch bounds what the account's open messages take of temporary disk.
	Scratch *compress.Scratch
}

// Mailbox is one open folder, shared by all sessions that have it selected.
// Safe for concurrent use.
type Mailbox struct {
	env *Env
	dir *dirfd.Dir
	// nextValidity takes a UIDVALIDITY for a folder that has no usable one. It is
	// taken for good when settle (nil: nothing) has ended.
	nextValidity func() (validity uint32, settle func() error, err error)

	quota *quota.Quota // in which what comes and goes is counted; nil: it is not

	// sync (capacity 1) is held by whoever looks at or changes the files; it
	// guards what follows.
	sync  chan struct{}
	dirs  delivery.Dirs
	list  *uidlist.File
	words *keywords.Table
	hist  *history.File
	alias map[uint32]entry // a second name of a row's file
	// unlisted are rows with a file that the uidlist, as others replaced it,
	// has no record of.
	unlisted []uint32
	// unsynced are the directories with names that came or went and are not
	// durable yet, by place.
	unsynced [2]bool
	// loaded says that the folder was scanned once.
	loaded bool
	// unwritable is set where no lock can be created (read-only file system,
	// no permission): the mailbox is served as it is, and not changed.
	unwritable bool
	// full is set while something is put off for want of room.
	full   bool
	shorts int // how often something was put off for that
	// late says that new mail without a UID was left aside by this look.
	late bool
	// usedUp is set where new mail without a UID is left aside for ever.
	usedUp bool
	again  *time.Timer // wakes the sessions to look again after a look that failed

	watch watching

	events eventQueue
	last   lastLook
	snap   snapshots
	// leadsHere tells whether the mailbox's name still leads to this folder.
	leadsHere func() bool

	mu       sync.RWMutex
	t        *table.Table
	names    letterNames
	modseqs  modseqs
	validity uint32
	guid     string // "" if the list has none
	copied   bool   // see IsCopy
	uidNext  uint32
	inNew    map[uint32]struct{} // rows whose file is in new/
	moveFrom time.Time           // when it is time to move them to cur/
	moveAll  bool                // a session selected it: those that came just now too
	views    map[*View]struct{}
	replaced bool
	cleaned  time.Time // when tmp/ was cleaned last
	// cached is what is known of the messages' text. Its own lock is never taken
	// with m.mu held: the other way round it is.
	cached *cache.Box
	// orders is what messages are put in an order by, in files of its own.
	orders   *cache.Box
	rankings rankings
}

// New opens the folder dir, which the Mailbox then owns, and reads it; ErrReplaced if
// it has no new, cur and tmp (any more).
// nextValidity is asked for a UIDVALIDITY if the folder has none, and settle, unless
// it is nil, is called, in any goroutine, to make it durable; leadsHere is
// asked now and then whether the mailbox's name still leads to dir, as it just did.
func New(ctx context.Context, env *Env, dir *dirfd.Dir, nextValidity func() (validity uint32, settle func() error, err error), leadsHere func() bool) (*Mailbox, error) {
	dirs, err := delivery.FindDirs(dir)
	// What is missing now was there just now: a folder that is deleted must not be made again.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Mailbox{
		env: env, dir: dir, dirs: dirs, nextValidity: nextValidity, leadsHere: leadsHere,
		sync:  make(chan struct{}, 1),
		list:  uidlist.New(dir, uidlist.Options{Fsync: env.Fsync, Log: env.Log, Now: env.Now}),
		words: keywords.New(dir, env.Fsync),
		hist:  history.New(dir, history.Options{Fsync: env.Fsync, Log: env.Log, Now: env.Now}),
		t:     table.New(), inNew: map[uint32]struct{}{}, views: map[*View]struct{}{},
		alias: map[uint32]entry{}, modseqs: modseqs{was: map[uint32]filename.Flags{}, strays: map[uint32]struct{}{}},
		cached: env.box(), orders: env.box(),
	}
	m.watch.muteFrom = muteFrom
	m.again = time.AfterFunc(pollInterval, m.wake)
	m.again.Stop()
	opened := false
	defer func() { // also after a panic
		if !opened {
			m.Close()
		}
	}()
	m.last.named = env.Now() // dir was just found by it
	resumed := m.openSnapshot()
	if m.loaded {
		m.watchSoon()
	} else { // the first scan waits for it, so that nothing falls between them
		m.watchBeside()
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

// Close gives everything back. No view may be open.
func (m *Mailbox) Close() {
	m.closeSnapshot()
	m.endWatch()
	m.again.Stop()
	m.closeCache()
	m.t.Close()
	m.dirs.Close()
	_ = m.dir.Close()
}

// Retire ends the mailbox for all who have it, and gives its watches back, so
// that the folder can be opened anew. Close it all the same.
func (m *Mailbox) Retire() {
	m.markReplaced()
	m.watch.starts.Wait()
	m.sync <- struct{}{}
	defer m.release()
	m.watch.retired = true
	m.watch.drop()
}

// Replaced tells whether the mailbox ended: Poll gives ErrReplaced.
func (m *Mailbox) Replaced() bool {
	if m.checkName() != nil {
		return true
	}
	now, err := m.readTimes()
	if err != nil {
		return errors.Is(err, ErrReplaced)
	}
	m.last.mu.Lock()
	known := m.last.times.list
	m.last.mu.Unlock()
	if now.list == known {
		return false
	}
	is, was := uidlist.ValidityOf(m.dir), m.UIDValidity()
	if is == 0 || was == 0 || is == was {
		return false
	}
	m.validityChanged(is)
	return true
}

// validityChanged ends the mailbox as another program gave it a new UIDVALIDITY.
func (m *Mailbox) validityChanged(now uint32) {
	m.env.Log.Warn("another program gave the mailbox a new UIDVALIDITY", "mailbox", m.Path(), "old", m.UIDValidity(), "new", now)
	m.markReplaced()
}

// WorthKeeping tells whether the mailbox is worth being kept open without a
// view: events keep it in step, and most of its table is messages that are there.
func (m *Mailbox) WorthKeeping() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return (m.watch.on || m.watch.soon) && !m.replaced && m.t.Len() <= 2*m.t.Count()+1000
}

// CountIn has what comes and goes counted in a quota, which several mailboxes
// share. Call it before anything else.
func (m *Mailbox) CountIn(q *quota.Quota) { m.quota = q }

// room returns quota.ErrOver if the quota has no room for so many bytes and
// messages more.
func (m *Mailbox) room(bytes, messages int64) error {
	if m.quota == nil {
		return nil
	}
	return m.quota.Room(bytes, messages)
}

// counts tells whether what comes and goes is counted.
func (m *Mailbox) counts() bool { return m.quota != nil && m.quota.Kept() }

// count says that messages came or went. What the files themselves say does
// not change by an error, so it is only logged.
func (m *Mailbox) count(bytes int64, messages int) {
	if err := m.quota.Add(bytes, messages); err != nil {
		m.env.Log.Warn("cannot count mail in maildirsize", "mailbox", m.Path(), "error", err)
	}
}

// Path returns where the folder is, for messages to people.
func (m *Mailbox) Path() string { return m.dir.Path() }

// UIDValidity returns the mailbox's UIDVALIDITY.
func (m *Mailbox) UIDValidity() uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.validity
}

// UIDNext returns the UID that the next new message gets at least.
func (m *Mailbox) UIDNext() uint32 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.uidNext
}

// markReplaced ends the mailbox for all sessions that have it open: their next
// Poll gives ErrReplaced.
func (m *Mailbox) markReplaced() {
	m.mu.Lock()
	m.replaced = true
	m.mu.Unlock()
	m.wake()
}

// NewView opens a view of the mailbox as it is now. notify is called from
// other goroutines, without locks held, when Updates may have news; it must
// not block. When ctx ends, nothing is waited for any more to read messages. A view that
// is not read-only moves new mail to cur/ and claims it as \Recent.
func (m *Mailbox) NewView(ctx context.Context, readOnly bool, notify func()) (*View, error) {
	if !readOnly {
		m.mu.RLock()
		unwritable := m.unwritable
		m.mu.RUnlock()
		if unwritable {
			m.events.orderScan() // is it so still?
		} else if err := m.dir.Writable(); err != nil {
			m.cannotWrite(err)
		}
	}
	err := m.Poll(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	v := &View{m: m, ctx: ctx, readOnly: readOnly || m.unwritable, notify: notify}
	m.views[v] = struct{}{}
	m.showUnsettled()
	v.grow()
	m.moveAll = m.moveAll || !v.readOnly
	m.mu.Unlock()
	if !v.readOnly {
		m.cleanTemp()
		if m.newMailToMove() { // now that somebody reads it
			err = m.Poll(ctx)
		}
	}
	if err == nil {
		_, err = m.settled(ctx, false)
	}
	if err != nil {
		v.Close()
		return nil, err
	}
	m.mu.Lock()
	m.moveAll = false
	v.grow()
	v.told = m.modseqs.highest
	m.mu.Unlock()
	return v, nil
}

// Poll brings the table in step with the files, as Mailbox.Poll.
func (v *View) Poll(ctx context.Context) error { return v.m.Poll(ctx) }

// acquire takes the right to look at the files.
func (m *Mailbox) acquire(ctx context.Context) error {
	select {
	case m.sync <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Mailbox) release() { <-m.sync }

// errNoLock says that no lock can be created in the folder at all.
var errNoLock = errors.New("mailbox cannot be locked")

// locked runs f under dovecot-uidlist.lock with the uidlist read up to its
// end, waiting for the lock no longer than patience. m.sync is held.
func (m *Mailbox) locked(ctx context.Context, patience time.Duration, f func(*dotlock.Lock) error) (err error) {
	lock, err := m.env.Locker.Acquire(ctx, m.dir, uidlistLock, dotlock.Options{Timeout: patience, Watch: []string{uidlistName}})
	if err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
			return fmt.Errorf("%w: %w", errNoLock, err)
		case isFull(err):
			return fmt.Errorf("%w: %w", errNoRoom, err)
		case errors.Is(err, fs.ErrNotExist): // the folder itself was removed while we hold it open
			m.markReplaced()
			return fmt.Errorf("%w: %w", ErrReplaced, err)
		}
		return err
	}
	// Also after a panic, which ends one session and not the mailbox.
	defer func() {
		rerr := lock.Release()
		if err == nil && errors.Is(rerr, dotlock.ErrStolen) {
			err, rerr = rerr, nil
		}
		err = m.endedBy(err)
		if rerr != nil && !errors.Is(m.endedBy(rerr), ErrReplaced) { // the next one who wants it removes it
			m.env.Log.Error("the mailbox's lock cannot be removed", "mailbox", m.Path(), "error", rerr)
		}
	}()
	m.mu.Lock()
	m.unwritable = false // if it was so for a time
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

// putBack raises the next UID of a folder that came back from a snapshot. The
// uidlist's lock is held.
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
	next := m.list.Header().NextUID
	m.env.Log.Info("the mailbox was restored from a snapshot", "mailbox", m.Path(), "uidnext", next, "before", h.NextUID)
	m.mu.Lock()
	m.uidNext = max(m.uidNext, next)
	m.mu.Unlock()
	return nil
}

// check returns ErrReplaced if the mailbox ended.
func (m *Mailbox) check() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.replaced || m.t.Broken() {
		return ErrReplaced
	}
	return nil
}
