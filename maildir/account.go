package maildir

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
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

// AccountOptions say how one account's Maildir is laid out.
type AccountOptions struct {
	Root   string // absolute path of the Maildir
	Folder folder.Options
	// Defaults are folders to create and subscribe to when the Maildir itself
	// is created. In an existing one nothing is created.
	Defaults []folder.Default
	// Owner is the system user whose Maildir this is, for a process that runs
	// as root: what is made belongs to him, and a Maildir of somebody else is
	// not opened. nil: whoever has it.
	Owner *Owner
	// Existing says that a Maildir that is missing is not made: fs.ErrNotExist.
	Existing bool
	// Quota is the limit that is configured for the account; the zero one leaves
	// it to the Maildir's maildirsize.
	Quota quota.Limit

	before func(op, path string) error // for tests: see dirfd.Dir.Before
}

// Account is one user's Maildir. Safe for concurrent use.
type Account struct {
	store *Store
	path  string
	env   *mailbox.Env

	done  chan struct{} // closed when err or what follows is set
	err   error
	root  *dirfd.Dir
	id    dirfd.ID // of root, which nothing else can have while root is open
	tree  *folder.Tree
	quota *quota.Quota
	// flat says that all folders lie in the root itself.
	flat bool

	inbox inbox

	ids       mailboxIDs
	folderIDs folderIDs
	keys      sync.Mutex // held while access keys are made or removed

	watching sync.Once
	watch    *watch.Watch // of the root, nil without events or before a mailbox was open

	// changes counts what may have given a name to another folder, as far as
	// events tell.
	changes atomic.Uint64

	looked atomic.Int64 // when Moved looked, in nanoseconds of the clock
	moved  atomic.Bool  // what it saw

	// Guarded by store.mu.
	refs  int
	since time.Time     // unused since
	rest  *list.Element // in store.resting, nil while somebody has it
	boxes map[dirfd.ID]*openBox
	// names are boxes by the name that leads to them, as long as changes stands
	// still. Empty without events, and if folders lie in folders.
	names     map[string]*openBox
	treeWatch treeWatch

	onMetadata map[*func(MetadataChange)]struct{} // guarded by store.mu
}

// Account opens the Maildir at opt.Root and creates it if it is missing. The
// same root gives the same Account while one is open. The end of ctx ends the wait for
// others who are making it. Release it when done.
func (s *Store) Account(ctx context.Context, opt AccountOptions) (*Account, error) {
	for looked := false; ; {
		s.mu.Lock()
		a := s.accounts[opt.Root]
		if a == nil && opt.Existing && !looked {
			s.mu.Unlock()
			if _, err := os.Lstat(opt.Root); err != nil {
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
		}
		if a.err != nil {
			if ended(a.err) && ctx.Err() == nil { // whoever opened it went away
				continue
			}
			return nil, a.err
		}
		if a.current(opt.Owner) {
			a.quota.Configure(opt.Quota)
			return a, nil
		}
		s.forget(a)
		a.Release()
	}
}

// ended tells whether an error is the end of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// giveUp gives back an account that another one may still be opening.
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
		a.refs-- // whoever opens it has another
		s.mu.Unlock()
	}
}

// forget makes the next one who asks for the account open it anew.
func (s *Store) forget(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[a.path] == a {
		delete(s.accounts, a.path)
	}
}

// opened opens the account for those who wait for it. They get an error too if it
// panics.
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

// watchRoot lets open mailboxes, and who asked by OnTreeChange, hear at once of
// folders that others make, rename or remove.
func (a *Account) watchRoot() {
	w, err := a.store.env.Watcher.Add(a.root, a.rootEvent)
	if err == nil {
		a.watch = w
	}
}

// Release gives the account back. Its mailboxes must have been released.
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
		s.shrink(s.most, s.env.Now().Add(-idleTime)) // nobody comes back to its mailboxes
	}
}

// unused tells whether nobody has the account or one of its mailboxes, and if
// so forgets it. store.mu is held.
func (a *Account) unused() bool {
	if a.refs > 0 || len(a.boxes) > 0 {
		return false
	}
	if a.store.accounts[a.path] == a {
		delete(a.store.accounts, a.path)
	}
	return true
}

func (a *Account) close() {
	if a.watch != nil {
		a.watch.Close()
	}
	a.inbox.drop()
	_ = a.root.Close()
}

// Tree returns the account's folders. Change them through the Account.
func (a *Account) Tree() *folder.Tree { return a.tree }

// Quota returns what the account may hold.
func (a *Account) Quota() *quota.Quota { return a.quota }

// nextValidity takes a UIDVALIDITY, which is not given again once settle was called.
func (a *Account) nextValidity() (validity uint32, settle func() error, err error) {
	return uidlist.TakeValidity(a.root, a.store.env.Now(), a.store.env.Fsync)
}

// leadsTo tells whether a name leads to the folder with this identity.
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
