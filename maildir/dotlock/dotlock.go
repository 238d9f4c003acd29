// Package dotlock acquires and releases the lock files with which the writers of a Maildir
// folder exclude each other, above all "dovecot-uidlist.lock".
//
// The protocol is Dovecot's (file-dotlock.c): the lock is held by whoever created the file,
// which contains "<pid>:<host>", and is released by removing it. There is no notification;
// whoever waits has to look again. What can go wrong, and how it is handled:
//
//   - The holder died. Its lock is taken over once it is 2 s old and unchanged on a second
//     look, if it names a process of this host that does not exist (TestDeadHolder). If the
//     process number was reused by a younger process, for example after a restart of the
//     machine, the holder counts as not existing (TestRecycledPID); Dovecot waits for such
//     a lock forever.
//   - The holder is unknown: the file is empty, or names another host. It is taken over
//     when neither the lock nor the file that it protects has changed for 120 s
//     (TestUnknownHolder), as in Dovecot.
//   - The power failed before the holder's name was on disk: an empty lock that is older
//     than the last start of this machine is taken over when it has not changed for 2 s,
//     but not on a file system that other hosts may use (TestEmptyAfterRestart). The wait
//     is necessary because after the clock was set forward, a lock that is held may seem
//     that old.
//   - The disk has no room for the holder's name: the lock is created empty, which takes an
//     inode but no block (TestFaults in scripts/faults). It excludes others like any other
//     lock, but stays for 120 s if its holder dies.
//   - Several processes take over a lock at once. It is moved aside, by one at a time, and
//     examined again before it is removed, so that nobody removes a lock that another
//     process has just created (TestContendedTakeover).
//   - This process dies while creating a lock: the name appears together with the content
//     (dirfd.CreateWhole), so no lock of this package is empty unless the disk is full.
//   - Another program takes over our lock, or somebody removes it: Touch and Release report
//     that (TestStolen), and never remove anybody else's lock.
//   - The folder's owner puts something else in the lock's place: anything but a regular
//     file is an error at once (TestNotRegular); links are not followed, and nothing
//     blocks.
//
// If a program died and its process number belongs to an older process that still runs, its
// lock stays until somebody removes the file: Acquire's error names the holder.
package dotlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// ErrLocked means that the lock is held by another program or another part of this one. The
// text of the wrapping error names the holder.
var ErrLocked = errors.New("locked by another program")

// ErrStolen means that a lock no longer existed, or belonged to somebody else, before it
// was released: its holder may not have been alone.
var ErrStolen = errors.New("the lock was taken away while it was held")

// Options control how long one Acquire waits, and for whom.
type Options struct {
	Timeout time.Duration // longest wait; 0: until the context ends
	Stale   time.Duration // how long the lock of an unknown holder must be unchanged before it is taken over; 0: 120 s
	Watch   []string      // files in the same directory whose change proves that the lock's holder is alive
}

const (
	defaultStale = 120 * time.Second
	touchEvery   = time.Second // Dovecot compares whole seconds
)

// Locker acquires locks for a process. There must be only one in a process, since it
// distinguishes its own locks from those left by an earlier process with the same number.
// It is safe for concurrent use.
type Locker struct {
	// Log, if set before first use, gets a line for each lock that is taken over.
	Log *slog.Logger

	host  string
	pid   int
	now   func() time.Time
	start time.Time // of this process
	rules rules
	find  func(pid int) process
	boot  func() time.Time // when this machine was started, according to the clock now

	mu   sync.Mutex
	own  map[dirfd.ID]bool // our lock files; false for a lock that could not be removed by Release
	seen map[dirfd.ID]sighting
}

// NewLocker returns the Locker of this process. host is written to the lock files, and
// Dovecot compares it with its own: it should be the name that gethostname returns, which
// is used if host is "".
func NewLocker(host string) *Locker {
	if host == "" {
		host, _ = os.Hostname()
	}
	l := &Locker{
		host: host, pid: os.Getpid(), now: time.Now, rules: defaultRules, find: findProcess, boot: bootTime,
		own: map[dirfd.ID]bool{}, seen: map[dirfd.ID]sighting{},
	}
	if l.start = l.find(l.pid).started; l.start.IsZero() {
		l.start = l.now()
	}
	return l
}

// Lock is a held lock. Its methods must not be called concurrently.
type Lock struct {
	locker  *Locker
	dir     *dirfd.Dir
	name    string
	file    *dirfd.File // open as long as the lock is held, so that its inode number is not reused
	id      dirfd.ID
	stamped time.Time
}

// Acquire creates the lock file name in dir, waiting until its holder releases it. After
// opt.Timeout it returns an error that wraps ErrLocked; if the context ends, one that wraps
// the context's error. If no file can be created, it returns that error (fs.ErrPermission,
// EROFS, ENOSPC, ...). dir must stay open until Release.
func (l *Locker) Acquire(ctx context.Context, dir *dirfd.Dir, name string, opt Options) (*Lock, error) {
	var end time.Time
	if opt.Timeout > 0 {
		end = time.Now().Add(opt.Timeout)
	}
	pause := firstPause
	var looked time.Time
	for {
		lock, err := l.create(dir, name)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return lock, err
		}
		wait := pause/2 + rand.N(pause)
		pause = min(2*pause, longestPause)
		// Examining the holder is more expensive than trying again: do it less often.
		if time.Since(looked) >= lookEvery {
			gone, err := l.clearStale(dir, name, opt)
			if err != nil {
				return nil, err
			}
			if gone {
				wait = 0
			}
			looked = time.Now()
		}
		if !end.IsZero() {
			left := time.Until(end)
			if left <= 0 {
				return nil, l.held(dir, name)
			}
			wait = min(wait, left)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("waiting for %s/%s: %w", dir.Path(), name, err)
		}
	}
}

// The waits between two attempts. Locks are held for milliseconds.
const (
	firstPause   = 200 * time.Microsecond
	longestPause = 20 * time.Millisecond
	lookEvery    = 50 * time.Millisecond
)

func (l *Locker) create(dir *dirfd.Dir, name string) (*Lock, error) {
	rights, err := dir.Rights()
	if err != nil {
		return nil, err
	}
	f, err := dir.CreateWhole(name, rights, []byte(strconv.Itoa(l.pid)+":"+l.host))
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		// Freeing space requires the lock too.
		f, err = dir.CreateWhole(name, rights, nil)
	}
	if err != nil {
		return nil, err
	}
	st, err := dirfd.FileStat(f)
	if err != nil {
		_ = f.Close()
		return nil, errors.Join(err, dir.Remove(name))
	}
	lock := &Lock{locker: l, dir: dir, name: name, file: f, id: st.ID(), stamped: l.now()}
	l.mu.Lock()
	l.own[lock.id] = true
	l.mu.Unlock()
	return lock, nil
}

// Touch shows during long work that the holder is alive. It should be called at least every
// few seconds; calling it more often costs next to nothing. If the error wraps ErrStolen,
// the caller must stop.
func (l *Lock) Touch() error {
	now := l.locker.now()
	if since := now.Sub(l.stamped); since >= 0 && since < touchEvery {
		return nil
	}
	if err := l.verify(); err != nil {
		return err
	}
	if err := l.dir.Chtimes(l.name, now); err != nil {
		return err
	}
	l.stamped = now
	return nil
}

// Release releases the lock. Its error wraps ErrStolen if somebody else took the lock
// meanwhile. A second call does nothing.
func (l *Lock) Release() error {
	if l.file == nil {
		return nil
	}
	err := l.verify()
	if err == nil {
		if err = l.dir.Remove(l.name); errors.Is(err, fs.ErrNotExist) {
			err = l.stolen() // just now
		}
	}
	l.locker.mu.Lock()
	if err == nil || errors.Is(err, ErrStolen) {
		delete(l.locker.own, l.id)
	} else {
		l.locker.own[l.id] = false // whoever wants it next removes it
	}
	l.locker.mu.Unlock()
	_ = l.file.Close()
	l.file = nil
	return err
}

// verify checks that the name still belongs to our lock file.
func (l *Lock) verify() error {
	st, err := l.dir.Lstat(l.name)
	if err == nil && st.ID() == l.id {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return l.stolen()
	}
	return err
}

func (l *Lock) stolen() error {
	return fmt.Errorf("%w: %s/%s", ErrStolen, l.dir.Path(), l.name)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
