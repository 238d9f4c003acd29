package dotlock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// rules are the ages at which a lock counts as left behind.
type rules struct {
	// fresh is the age below which no holder is considered dead.
	fresh time.Duration
	// look is how long a lock must be unchanged between two looks.
	look time.Duration
}

var defaultRules = rules{fresh: 2 * time.Second, look: 40 * time.Millisecond}

// state is everything by which a holder shows that it is alive.
type state struct {
	id            dirfd.ID
	size          int64
	latest, other int64 // last change of the lock and of the watched files, ns
}

// sighting is a state and when it was first seen.
type sighting struct {
	state state
	since time.Time
}

// maxSightings limits how many locks of others are remembered.
const maxSightings = 1024

// unchangedFor returns for how long this process has seen the lock in this state. That is
// remembered between calls of Acquire, because a wait may be shorter than the time that a
// lock must be unchanged.
func (l *Locker) unchangedFor(s state) time.Duration {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.seen[s.id]; ok && old.state == s {
		return now.Sub(old.since)
	}
	if len(l.seen) >= maxSightings {
		for id, old := range l.seen {
			if now.Sub(old.since) > defaultStale || len(l.seen) >= 2*maxSightings {
				delete(l.seen, id)
			}
		}
	}
	l.seen[s.id] = sighting{s, now}
	return 0
}

func (l *Locker) forget(id dirfd.ID) {
	l.mu.Lock()
	delete(l.seen, id)
	l.mu.Unlock()
}

// clearStale removes a lock that was left behind. It reports whether it is worth trying again at
// once; an error means that it never will be.
func (l *Locker) clearStale(dir *dirfd.Dir, name string, opt Options) (bool, error) {
	st, err := dir.Lstat(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	}
	if !st.Regular() {
		return false, fmt.Errorf("%s/%s is in the way of the lock, remove it: %w", dir.Path(), name, dirfd.ErrNotRegular)
	}
	// The file stays open from the first look to the last, so that no other file can get
	// its inode number.
	f, err := dir.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err == nil:
		defer f.Close()
		if st, err = dirfd.FileStat(f); err != nil {
			return false, err
		}
	default:
		f = nil // it belongs to another user: judge it by its state
	}
	s := state{id: st.ID(), size: st.Size, latest: st.Changed().UnixNano()}
	for _, other := range opt.Watch {
		if w, err := dir.Lstat(other); err == nil {
			s.other = max(s.other, w.Changed().UnixNano())
		}
	}
	since := l.unchangedFor(s)
	if since < l.rules.look {
		return false, nil
	}
	h := l.holder(f, st)
	age := l.now().Sub(time.Unix(0, max(s.latest, s.other)))
	if !l.leftBehind(dir, s, h, age, since, opt) {
		return false, nil
	}
	took, err := takeAway(dir, name, f, st)
	if took {
		l.forget(s.id)
		l.mu.Lock()
		delete(l.own, s.id)
		l.mu.Unlock()
		if l.Log != nil {
			l.Log.Warn("took over a lock that was left behind", "lock", dir.Path()+"/"+name,
				"holder", h.String(), "age", age.Round(time.Millisecond))
		}
	}
	return took, err
}

// leftBehind reports whether the lock in state s no longer belongs to anybody. Its last
// change was age ago by the clock, and this process has seen it in this state for the
// duration since.
func (l *Locker) leftBehind(dir *dirfd.Dir, s state, h holder, age, since time.Duration, opt Options) bool {
	stale := opt.Stale
	if stale <= 0 {
		stale = defaultStale
	}
	switch h.life {
	case dead:
		// The clock may have been set back since the file was created.
		return age >= l.rules.fresh || since >= l.rules.fresh
	case replaced:
		return since >= l.rules.fresh
	case unknown:
		return since >= stale || since >= l.rules.fresh && (age >= stale || s.size == 0 && l.outlived(dir, s))
	}
	return false
}

// outlived reports whether nothing has changed since before this machine was started, and
// no other machine can hold the lock.
func (l *Locker) outlived(dir *dirfd.Dir, s state) bool {
	return time.Unix(0, max(s.latest, s.other)).Add(startSlack).Before(l.boot()) && !dir.Shared()
}

// takeAway removes the lock file name if it is still the one that st describes, and that f,
// if not nil, keeps open. Unlinking it by name could remove another process's lock that
// replaced it between the last look and the unlink; therefore it is first moved aside and
// examined there. Among processes that do the same, a kernel lock on the old file prevents
// even the move of a new one.
func takeAway(dir *dirfd.Dir, name string, f *dirfd.File, st dirfd.Stat) (bool, error) {
	same := func(now dirfd.Stat) bool {
		return now.ID() == st.ID() && (f != nil || now.Mtime.Equal(st.Mtime) && now.Size == st.Size)
	}
	if f != nil {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
			return false, nil // somebody else is doing it
		}
	}
	now, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !same(now) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	aside := name + "." + rand.Text()
	if err := dir.Rename(name, dir, aside); err != nil { // in one step, on every file system
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	}
	if now, err = dir.Lstat(aside); err != nil {
		return false, err
	}
	if same(now) {
		_ = dir.Remove(aside) // the lock is free once its name is
		return true, nil
	}
	// A live lock, created just now by a program that removed the old one: put it back.
	if err := dir.RenameNoReplace(aside, dir, name); err != nil {
		return false, errors.Join(err, dir.Remove(aside))
	}
	return false, nil
}

// held returns an error that describes the lock and wraps ErrLocked.
func (l *Locker) held(dir *dirfd.Dir, name string) error {
	path := dir.Path() + "/" + name
	st, err := dir.Lstat(name)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrLocked, path)
	}
	f, err := dir.Open(name)
	if err == nil {
		defer f.Close()
	} else {
		f = nil
	}
	h := l.holder(f, st)
	return fmt.Errorf("%w: %s is held by %s, last changed %s ago", ErrLocked, path, h,
		max(0, l.now().Sub(st.Changed())).Round(time.Second))
}
