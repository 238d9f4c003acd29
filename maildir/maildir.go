package maildir

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/history"
	"maildird/maildir/mailbox"
	"maildird/maildir/watch"
)

// Options are the settings of a Store.
type Options struct {
	Host  string // host part of file names; lock files have the system's own, like Dovecot's
	Fsync bool   // return from a change only when it is on disk
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
	// Compress is the format in which files are written.
	Compress compress.Format
	// Reserve is how many bytes of a file system must stay free when a message is appended.
	Reserve uint64
	// Idle is how many mailboxes that nobody has open are kept ready, with their tables and
	// watches; 0: 256, less than 0: none.
	Idle int
	// CacheDir is the path of the directory that caches what was read of messages. It may
	// be deleted while nobody uses it. "": nothing is cached.
	CacheDir string
}

// Store is all Maildirs that this process serves. It is safe for concurrent use.
type Store struct {
	env  mailbox.Env
	most int // idle mailboxes

	mu        sync.Mutex
	accounts  map[string]*Account // by root
	idle      *list.List          // of *openBox, the longest idle ones last
	resting   *list.List          // of *Account, those unused for the longest time last
	sweeper   *time.Timer         // nil: nothing is idle
	toldStuck time.Time
	closed    bool
	closing   sync.WaitGroup // mailboxes and accounts that are being closed
}

// NewStore returns a Store, and starts the file-system watcher that all its accounts share.
func NewStore(opt Options) *Store {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Idle == 0 {
		opt.Idle = 256
	}
	var scratch []string
	if opt.CacheDir != "" {
		scratch = append(scratch, opt.CacheDir)
	}
	locker := dotlock.NewLocker("")
	locker.Log = opt.Log
	_ = history.RunOfMachine() // determine it now rather than while the first client waits
	return &Store{
		env: mailbox.Env{
			Log: opt.Log, Now: opt.Now, Fsync: opt.Fsync,
			Cache:    cache.New(cache.Options{Dir: opt.CacheDir, Log: opt.Log}),
			Watcher:  watch.New(opt.Log, scratch...),
			Locker:   locker,
			Delivery: &delivery.Options{Host: opt.Host, PID: os.Getpid(), Fsync: opt.Fsync, Now: opt.Now, Compress: opt.Compress, Reserve: opt.Reserve},
		},
		most:     opt.Idle,
		accounts: map[string]*Account{},
		idle:     list.New(),
		resting:  list.New(),
	}
}

// Close stops all background work. Accounts must have been released.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.shrink(0, time.Time{})
	s.endRest(0, time.Time{})
	s.closing.Wait()
	return errors.Join(s.env.Watcher.Close(), s.env.Cache.Close())
}

// Delivery returns the settings with which files are written.
func (s *Store) Delivery() *delivery.Options { return s.env.Delivery }

// WithoutUIDs reports whether Dovecot has used the Maildir at root and keeps the UIDs elsewhere, or
// has lost them. It cannot be known if Dovecot's indexes are elsewhere too.
func WithoutUIDs(root string) bool {
	has := func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, name))
		return err == nil
	}
	return has("dovecot.index.log") && !has("dovecot-uidlist")
}

// CheckRoot returns what prevents the directory at root from being served by this process
// as a Maildir, or, if owner is not nil, as that of the owner. A missing one is created
// when its first mail arrives, so CheckRoot checks whether this process may create it.
func CheckRoot(root string, owner *Owner) error {
	if owner != nil {
		if err := owner.served(root); err != nil {
			return err
		}
	}
	st, err := os.Stat(root)
	switch missing := errors.Is(err, fs.ErrNotExist); {
	case missing && owner != nil:
		return owner.mayMake(root)
	case missing:
		return MayMakeDirs(root)
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is not a directory, and so not a Maildir", root)
	}
	names, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	if owner != nil {
		if err := owner.isOwner(root, st.Sys().(*syscall.Stat_t).Uid); err != nil {
			return err
		}
	} else if err := MayWrite(root); err != nil {
		return err
	}
	found := false
	for _, n := range names {
		switch n.Name() {
		case "cur", "new":
			found = true
			fallthrough
		case "tmp":
			if owner != nil {
				continue
			}
			if err := MayWrite(filepath.Join(root, n.Name())); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is not a Maildir: it has files but neither cur nor new", root)
	}
	return nil
}
