package maildir

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/quota"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// AccountOptions describe the Maildir of one account.
type AccountOptions struct {
	Root   string // absolute path of the Maildir
	Folder folder.Options
	// Defaults are folders to create and subscribe to when the Maildir itself is created.
	// Nothing is created in an existing one.
	Defaults []folder.Default
	// Owner is the system user whose Maildir this is, for a process that runs as root: what
	// is created belongs to this user, and another user's Maildir is not opened. nil: any
	// user.
	Owner *Owner
	// Existing means that a missing Maildir is not created: Account returns fs.ErrNotExist.
	Existing bool
	// Quota is the limit configured for the account; if it is zero, that in the Maildir's
	// maildirsize applies.
	Quota quota.Limit

	before func(op, path string) error // for tests: see dirfd.Dir.Before
}

// Account is one user's Maildir. It is safe for concurrent use.
type Account struct {
	store *Store
	path  string
	env   *mailbox.Env

	done  chan struct{} // closed once err or the following fields are set
	err   error
	root  *dirfd.Dir
	id    dirfd.ID // of root; nothing else can have it while root is open
	tree  *folder.Tree
	quota *quota.Quota
	// flat means that all folders are in the root itself.
	flat bool

	inbox inbox

	ids       mailboxIDs
	folderIDs folderIDs
	keys      sync.Mutex // held while access keys are created or removed

	watching sync.Once
	watch    *watch.Watch // of the root; nil without events for all changes or before a mailbox was opened

	// changes counts what may have given a name to another folder, as far as events report
	// it.
	changes atomic.Uint64

	looked atomic.Int64 // when Moved last looked, in nanoseconds of the clock
	moved  atomic.Bool  // what it found

	// Guarded by store.mu.
	refs  int
	since time.Time     // unused since
	rest  *list.Element // in store.resting, nil while somebody has the account
	boxes map[dirfd.ID]*openBox
	// names are boxes by the name that leads to them. They are valid as long as changes
	// does not change. It is empty without events, and if folders are inside folders.
	names     map[string]*openBox
	treeWatch treeWatch

	onMetadata map[*func(MetadataChange)]struct{} // guarded by store.mu
}

// Account opens the Maildir at opt.Root, and creates it if it is missing. While an Account
// is open, the same root returns the same Account. If ctx ends, waiting for others who are
// creating it ends, and after dirfd.Patience with dirfd.ErrNoAnswer, which is logged. The caller has
// to call Release.
func (s *Store) Account(ctx context.Context, opt AccountOptions) (_ *Account, err error) {
	defer func() {
		if errors.Is(err, dirfd.ErrNoAnswer) {
			s.tellStuck(opt.Root)
		}
	}()
	for looked := false; ; {
		s.mu.Lock()
		a := s.accounts[opt.Root]
		if a == nil && opt.Existing && !looked {
			s.mu.Unlock()
			if _, err := dirfd.LstatPath(opt.Root); err != nil {
				return nil, err
			}
			looked = true
			continue
		}
		if a == nil {
			a = &Account{store: s, path: opt.Root, env: s.env.Of(opt.Root), refs: 1, boxes: map[dirfd.ID]*openBox{}, names: map[string]*openBox{}, done: make(chan struct{})}
			s.accounts[opt.Root] = a
			s.mu.Unlock()
			a.opened(ctx, opt)
			return a, a.err
		}
		a.hold()
		s.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			a.giveUp()
			return nil, ctx.Err()
		case <-time.After(dirfd.Patience):
			a.giveUp()
			return nil, fmt.Errorf("open Maildir %s: %w", a.path, dirfd.ErrNoAnswer)
		}
		if a.err != nil {
			if ended(a.err) && ctx.Err() == nil { // the caller that was opening it gave up
				continue
			}
			return nil, a.err
		}
		switch current, err := a.current(opt.Owner); {
		case err != nil:
			a.Release()
			return nil, err
		case current:
			a.quota.Configure(opt.Quota)
			return a, nil
		}
		s.forget(a)
		a.Release()
	}
}

// ended reports whether an error is caused by the end of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// giveUp releases an account that another caller may still be opening.
func (a *Account) giveUp() {
	s := a.store
	s.mu.Lock()
	select {
	case <-a.done:
		s.mu.Unlock()
		if a.err == nil {
			a.Release()
		}
	default:
		a.refs-- // whoever opens it has another reference
		s.mu.Unlock()
	}
}

// forget makes the next caller open the account again.
func (s *Store) forget(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[a.path] == a {
		delete(s.accounts, a.path)
	}
}

// opened opens the account for those who wait for it. They get an error too if it panics.
func (a *Account) opened(ctx context.Context, opt AccountOptions) {
	a.err = errPanicked
	defer func() {
		if a.err != nil {
			a.store.forget(a)
		}
		close(a.done)
	}()
	a.err = a.open(ctx, opt)
}

func (a *Account) open(ctx context.Context, opt AccountOptions) error {
	root, err := openRoot(ctx, opt)
	if err != nil {
		return fmt.Errorf("open Maildir %s: %w", opt.Root, err)
	}
	st, err := root.Stat()
	if err != nil {
		_ = root.Close()
		return err
	}
	if a.tree, err = folder.NewTree(root, opt.Folder); err != nil {
		_ = root.Close()
		return err
	}
	a.root, a.id = root, st.ID()
	a.tree.LogTo(a.store.env.Log)
	a.flat = opt.Folder.Layout == folder.LayoutMaildirPP
	a.changes.Store(1) // no box was checked yet
	a.quota = quota.New(root, a.store.env.Log, a.store.env.Now)
	a.quota.Configure(opt.Quota)
	return nil
}

// watchRoot makes open mailboxes, and the functions passed to OnTreeChange, learn
// immediately of folders that others create, rename or remove.
func (a *Account) watchRoot() {
	w, err := a.store.env.Watcher.Add(a.root, a.rootEvent)
	switch {
	case err != nil:
	case w.Partial():
		w.Close()
	default:
		a.watch = w
	}
}

// Release releases the account. Its mailboxes must have been released.
func (a *Account) Release() {
	s := a.store
	s.mu.Lock()
	a.refs--
	resting := a.putToRest()
	last := !resting && a.unused()
	stale := s.accounts[a.path] != a
	s.mu.Unlock()
	switch {
	case resting:
		s.endRest(mostResting, time.Time{})
	case last:
		a.close()
	case stale:
		s.shrink(s.most, s.env.Now().Add(-idleTime)) // nobody will use its mailboxes again
	}
}

// unused reports whether nobody has the account or one of its mailboxes, and if so, forgets
// it. store.mu is held.
func (a *Account) unused() bool {
	if a.refs > 0 || len(a.boxes) > 0 {
		return false
	}
	if a.store.accounts[a.path] == a {
		delete(a.store.accounts, a.path)
	}
	a.endWatch()
	return true
}

// endWatch ends the events of the root of an account that nobody has any more, before another
// caller can open it again: a directory has one watch only. store.mu is held.
func (a *Account) endWatch() {
	if a.watch != nil {
		a.watch.Close()
	}
}

func (a *Account) close() {
	a.inbox.drop()
	_ = a.root.Close()
}

// Tree returns the account's folders. Changes must be made through the Account.
func (a *Account) Tree() *folder.Tree { return a.tree }

// Quota returns the account's quota.
func (a *Account) Quota() *quota.Quota { return a.quota }

// nextValidity allocates a UIDVALIDITY. It is not allocated again once settle was called.
func (a *Account) nextValidity() (validity uint32, settle func() error, err error) {
	return uidlist.TakeValidity(a.root, a.store.env.Now(), a.store.env.Fsync)
}

// leadsTo reports whether a name leads to the folder with this identity.
func (a *Account) leadsTo(name string, id dirfd.ID) bool {
	if !a.inPlace() {
		return false
	}
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return !errors.Is(err, folder.ErrNotFound)
	}
	defer dir.Close()
	now, err := dir.ID()
	return err != nil || now == id
}
