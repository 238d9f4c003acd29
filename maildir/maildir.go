// Package maildir serves trees of Maildir folders: it finds an account's
// folders, opens them as mailboxes that sessions share, and takes deliveries.
// It knows files and nothing of network protocols.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// Options are the settings of a Store.
type Options struct {
	Host  string // host part of file names and of lock files
	Fsync bool   // say that a change is done only when it is on disk
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now

	Compress compress.Format // of the files that are written: None, Gzip or Zstd
}

// Store is all Maildirs that this process serves. Safe for concurrent use.
type Store struct {
	env mailbox.Env

	mu       sync.Mutex
	accounts map[string]*Account // by root
}

// NewStore starts the file-system watcher that all accounts share.
func NewStore(opt Options) *Store {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Store{
		env: mailbox.Env{
			Log: opt.Log, Now: opt.Now, Fsync: opt.Fsync,
			Watcher:  watch.New(opt.Log),
			Locker:   dotlock.NewLocker(opt.Host),
			Delivery: &delivery.Options{Host: opt.Host, PID: os.Getpid(), Fsync: opt.Fsync, Now: opt.Now, Compress: opt.Compress},
		},
		accounts: map[string]*Account{},
	}
}

// Close ends all background work. Accounts must have been released.
func (s *Store) Close() error { return s.env.Watcher.Close() }

// Delivery returns the settings with which files are written.
func (s *Store) Delivery() *delivery.Options { return s.env.Delivery }

// AccountOptions say how one account's Maildir is laid out.
type AccountOptions struct {
	Root   string // absolute path of the Maildir
	Folder folder.Options
	// Defaults are folders to create and subscribe to when the Maildir itself
	// is created. In an existing one nothing is created.
	Defaults []folder.Default
}

// Account is one user's Maildir. Safe for concurrent use.
type Account struct {
	store *Store
	root  *dirfd.Dir
	path  string
	tree  *folder.Tree
	watch *watch.Watch // of the root, nil without events

	refs int // guarded by store.mu

	mu    sync.Mutex
	boxes map[fileID]*openBox
}

// fileID is a directory's identity, whatever it is called.
type fileID struct{ dev, ino uint64 }

type openBox struct {
	box  *mailbox.Mailbox
	refs int
	err  error
	done chan struct{} // closed when box or err is set
}

// Account opens the Maildir at opt.Root and creates it if it is missing. The
// same root gives the same Account while one is open. Release it when done.
func (s *Store) Account(opt AccountOptions) (*Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[opt.Root]; a != nil && a.current() {
		a.refs++
		return a, nil
	}
	root, err := openRoot(opt)
	if err != nil {
		return nil, fmt.Errorf("open Maildir %s: %w", opt.Root, err)
	}
	a := &Account{
		store: s, root: root, path: opt.Root, refs: 1,
		tree:  folder.NewTree(root, opt.Folder),
		boxes: map[fileID]*openBox{},
	}
	if w, err := s.env.Watcher.Add(root, func(watch.Event) { a.namesChanged() }); err == nil {
		a.watch = w
	}
	s.accounts[opt.Root] = a
	return a, nil
}

// current tells whether the root's path still leads to this directory: it may
// have been removed, or restored from a backup.
func (a *Account) current() bool {
	now, err := os.Stat(a.path)
	if err != nil {
		return false
	}
	d, err := dirfd.Open(a.path)
	if err != nil {
		return false
	}
	defer d.Close()
	is, err := d.Stat()
	was, werr := a.root.Stat()
	return err == nil && werr == nil && now.IsDir() && is.Dev == was.Dev && is.Ino == was.Ino
}

// openRoot opens the Maildir and makes it, with its standard folders, if
// there is none.
func openRoot(opt AccountOptions) (*dirfd.Dir, error) {
	root, err := dirfd.Open(opt.Root)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := os.MkdirAll(filepath.Dir(opt.Root), 0o700); err != nil {
		return nil, err
	}
	// Whoever makes the directory fills it; a second process finds it there.
	err = os.Mkdir(opt.Root, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err = dirfd.Open(opt.Root)
	if err != nil || !made {
		return root, err
	}
	if err := folder.Provision(root, opt.Folder, opt.Defaults); err != nil {
		_ = root.Close()
		return nil, err
	}
	if parent, err := dirfd.Open(filepath.Dir(opt.Root)); err == nil {
		err = parent.Sync()
		_ = parent.Close()
		if err != nil {
			_ = root.Close()
			return nil, err
		}
	}
	return root, nil
}

// Release gives the account back. Its mailboxes must have been released.
func (a *Account) Release() {
	s := a.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.refs--; a.refs > 0 {
		return
	}
	if s.accounts[a.path] == a {
		delete(s.accounts, a.path)
	}
	if a.watch != nil {
		a.watch.Close()
	}
	_ = a.root.Close()
}

// Tree returns the account's folders. Delete and rename through the Account.
func (a *Account) Tree() *folder.Tree { return a.tree }

// Mailbox is an open mailbox. Release it when done.
type Mailbox struct {
	*mailbox.Mailbox
	a    *Account
	id   fileID
	once sync.Once
}

// Open opens the mailbox with this name (UTF-8, with the separator and prefix
// that clients see); folder.ErrNotFound if there is none. Sessions that open
// the same folder share it.
func (a *Account) Open(ctx context.Context, name string) (*Mailbox, error) {
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return nil, err
	}
	st, err := dir.Stat()
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	id := fileID{st.Dev, st.Ino}
	a.mu.Lock()
	b := a.boxes[id]
	if b != nil {
		b.refs++
		a.mu.Unlock()
		_ = dir.Close()
		<-b.done
	} else {
		b = &openBox{refs: 1, done: make(chan struct{})}
		a.boxes[id] = b
		a.mu.Unlock()
		b.box, b.err = mailbox.New(ctx, &a.store.env, dir, a.nextValidity, func() bool { return a.leadsTo(name, id) })
		if b.err != nil {
			_ = dir.Close()
		}
		close(b.done)
	}
	if b.err != nil {
		a.drop(id, b)
		return nil, b.err
	}
	return &Mailbox{Mailbox: b.box, a: a, id: id}, nil
}

// Release gives the mailbox back. Its views must be closed.
func (m *Mailbox) Release() {
	m.once.Do(func() {
		m.a.mu.Lock()
		b := m.a.boxes[m.id]
		m.a.mu.Unlock()
		m.a.drop(m.id, b)
	})
}

func (a *Account) drop(id fileID, b *openBox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.refs--; b.refs > 0 {
		return
	}
	delete(a.boxes, id)
	if b.err == nil {
		// Closed before the lock is given back: a directory can be watched
		// once only, and the next Open watches it again.
		b.box.Close()
	}
}

func (a *Account) nextValidity() (uint32, error) {
	return uidlist.NextValidity(a.root, a.store.env.Now(), a.store.env.Fsync)
}

// leadsTo tells whether a name leads to the folder with this identity.
func (a *Account) leadsTo(name string, id fileID) bool {
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return !errors.Is(err, folder.ErrNotFound)
	}
	defer dir.Close()
	st, err := dir.Stat()
	return err != nil || fileID{st.Dev, st.Ino} == id
}

// namesChanged lets the open mailboxes check that they still are what their
// names lead to.
func (a *Account) namesChanged() {
	a.mu.Lock()
	var open []*mailbox.Mailbox
	for _, b := range a.boxes {
		select {
		case <-b.done:
			if b.err == nil {
				open = append(open, b.box)
			}
		default:
		}
	}
	a.mu.Unlock()
	for _, box := range open {
		box.NameChanged()
	}
}

// Delete removes a mailbox. The next Poll of sessions that have it open gives
// mailbox.ErrReplaced.
func (a *Account) Delete(name string) error {
	err := a.tree.Delete(name)
	a.namesChanged()
	return err
}

// Rename renames a mailbox and its children. Renaming INBOX moves its messages
// to a new mailbox (RFC 9051 section 6.3.6).
func (a *Account) Rename(ctx context.Context, from, to string) error {
	if from == "INBOX" {
		return a.renameInbox(ctx, to)
	}
	err := a.tree.Rename(from, to)
	a.namesChanged()
	return err
}

func (a *Account) renameInbox(ctx context.Context, to string) error {
	if err := a.tree.Create(to, nil); err != nil {
		return err
	}
	src, err := a.Open(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer src.Release()
	dst, err := a.Open(ctx, to)
	if err != nil {
		return err
	}
	defer dst.Release()
	v, err := src.NewView(ctx, false, nil)
	if err != nil {
		return err
	}
	defer v.Close()
	var uids []uint32
	for m := range v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		uids = append(uids, m.UID)
	}
	_, err = v.Move(ctx, uids, dst.Mailbox)
	return err
}

// Inbox opens the directories that a delivery writes to. Close them when done.
func (a *Account) Inbox() (delivery.Dirs, error) {
	dir, err := a.tree.OpenDir("INBOX")
	if err != nil {
		return delivery.Dirs{}, err
	}
	dirs, err := delivery.OpenDirs(dir)
	if err != nil {
		_ = dir.Close()
	}
	return dirs, err
}

// CheckRoot tells what keeps the directory at root from being served as a
// Maildir. One that is missing is made when its first mail comes.
func CheckRoot(root string) error {
	st, err := os.Stat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is not a directory, so no Maildir", root)
	}
	names, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Name() == "cur" || n.Name() == "new" {
			return nil
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is not a Maildir: it has files but neither cur nor new", root)
	}
	return nil
}
