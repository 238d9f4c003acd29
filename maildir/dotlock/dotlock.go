// Package dotlock takes and gives back the lock files that exclude the writers
// of a Maildir folder from each other: "dovecot-uidlist.lock" first of all.
//
// The protocol is Dovecot's (file-dotlock.c): the lock is held by whoever
// created the file, with "<pid>:<host>" in it, and is given back by removing
// it. Nobody is told; who waits looks again. What can go wrong, and the answer:
//
//   - The holder died. Its lock is taken over once it is 2 s old and unchanged
//     on a second look, if it names a process of this host that does not exist
//     (TestDeadHolder). A number that was given to a younger process since, as
//     after a restart of the machine, counts as not existing
//     (TestRecycledPID); Dovecot waits for such a one for ever.
//   - The holder is unknown: the file is empty, or names another host. It is
//     taken over when neither the lock nor the file that it protects has
//     changed for 120 s (TestUnknownHolder), as Dovecot does.
//   - The power was cut before the holder's name was on disk: an empty lock that
//     was there before this machine was started is taken over when it has not
//     changed for 2 s, but not on a file system that other hosts may use
//     (TestEmptyAfterRestart). The wait is for a clock that was set forward
//     since, after which a lock that is held seems that old.
//   - The disk has no room for the holder's name: the lock is created empty, which
//     takes an inode and no block (TestFaults in scripts/faults). It excludes as any other does;
//     only if its holder dies, it stays for 120 s.
//   - Several take over at once. The lock is moved aside, by one at a time,
//     and looked at again before it is removed, so that nobody removes the
//     lock that another one has just created (TestContendedTakeover).
//   - This process dies in the middle of creating: the name appears together
//     with the content (dirfd.CreateWhole), so no lock of ours is empty while
//     there is room for that.
//   - Another program takes our lock over, or somebody removes it: Touch and
//     Release tell (TestStolen), and remove nothing of anybody else.
//   - The folder's owner puts something else there: what is no regular file is
//     an error at once (TestNotRegular), and nothing is followed or waited on.
//
// A program that died while the machine kept its number in use by an older
// process holds its lock until somebody removes the file: Acquire's error
// names the holder.
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

// ErrLocked says that the lock is held, by another program or another part of
// this one. The text of the error that wraps it names the holder.
var ErrLocked = errors.New("locked by another program")

// ErrStolen says that a lock was not there any more, or was somebody else's,
// before it was given back: its holder may not have been alone.
var ErrStolen = errors.New("the lock was taken away while it was held")

// Options say how long one Acquire waits and for whom.
type Options struct {
	Timeout time.Duration // longest wait; 0: until the context ends
	Stale   time.Duration // how long the lock of an unknown holder must not change before it is taken over; 0: 120 s
	Watch   []string      // files beside the lock whose change proves that its holder is alive
}

const (
	defaultStale = 120 * time.Second
	touchEvery   = time.Second // Dovecot looks at whole seconds
)

// Locker takes locks for one process, which must have only one: it tells its
// own locks from those that an earlier process with the same number left. Safe
// for concurrent use.
type Locker struct {
	// Log, if set before the first use, gets a line for each lock that was
	// taken over.
	Log *slog.Logger

	host  string
	pid   int
	now   func() time.Time
	start time.Time // of this process
	rules rules
	find  func(pid int) process
	boot  func() time.Time // when this machine was started, as its clock now tells

	mu   sync.Mutex
	own  map[dirfd.ID]bool // our lock files; false for one that could not be removed at Release
	seen map[dirfd.ID]sighting
}

// NewLocker returns the Locker of this process. host is written into lock
// files, and is what Dovecot compares with its own: it should be the name that
// gethostname gives, which is taken for "".
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

// Lock is a lock that is held. Its methods must not be called concurrently.
type Lock struct {
	locker  *Locker
	dir     *dirfd.Dir
	name    string
	file    *os.File // open as long as the lock is held, so that its inode number stays ours
	id      dirfd.ID
	stamped time.Time
}

// Acquire creates the lock file name in dir, waiting until its holder gives it
// back. After opt.Timeout the error wraps ErrLocked; if the context ends, its
// error is wrapped. Where no file can be created, that error is given
// (fs.ErrPermission, EROFS, ENOSPC, ...). dir must stay open until Release.
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
		// To look at the holder costs more than to try again: now and then.
		if time.Since(looked) >= lookEvery {
			gone, err := l.clear(dir, name, opt)
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
		// What frees space needs the lock too.
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

// Touch shows in long work that the holder is alive; call it every few
// seconds at least, more often costs next to nothing. An error that wraps
// ErrStolen says to stop.
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

// Release gives the lock back. It wraps ErrStolen if somebody else took it
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
		l.locker.own[l.id] = false // the next one to want it removes it
	}
	l.locker.mu.Unlock()
	_ = l.file.Close()
	l.file = nil
	return err
}

// verify tells whether the name still stands for our lock file.
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
