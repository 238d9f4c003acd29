package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// patience defines how long to wait for others.
type patience struct {
	lock  time.Duration // for the lock of the tree
	file  time.Duration // for the lock of a file
	stale time.Duration // age at which the lock of a file counts as left behind
	pause time.Duration // between two attempts
	young time.Duration // age of a folder's directory up to which its creator may still be filling it
}

// Dovecot waits two minutes for subscriptions.lock, and takes it over if it was not touched
// for half a minute.
var defaultPatience = patience{lock: 30 * time.Second, file: 60 * time.Second, stale: 30 * time.Second, pause: 10 * time.Millisecond, young: 250 * time.Millisecond}

// ErrLocked is wrapped by the error that is returned after waiting too long for another
// program.
var ErrLocked = errors.New("another program holds the lock")

// treeLock is the name of the file that Dovecot locks while it creates, deletes or renames
// a mailbox.
const treeLock = "mailboxes.lock"

// withLock runs change while no other goroutine, and no other program that takes the lock,
// changes the tree. The lock is a kernel lock on the file, so that of a dead program has no
// effect. The file exists while the lock is held: it is locked before it gets its name, and
// loses its name before it is unlocked; whoever locks a file without a name has to start
// again. The time spent waiting for other goroutines counts, so that if they wait for a
// program in vain, they do not do so one after another. If ctx ends, the wait ends, but not
// the change.
func (t *Tree) withLock(ctx context.Context, change func() error) error {
	deadline := t.now().Add(t.lock)
	if err := t.lockTurn.take(ctx); err != nil {
		return err
	}
	defer t.lockTurn.give()
	for {
		f, err := t.tryTreeLock()
		if err != nil {
			return err
		}
		if f != nil {
			defer f.Close()
			t.changing.Lock()
			err := change()
			t.changing.Unlock()
			// A file that is left behind does no harm: it can be locked.
			_ = t.root.Remove(treeLock)
			return err
		}
		if t.now().After(deadline) {
			return fmt.Errorf("%w: %s/%s", ErrLocked, t.root.Path(), treeLock)
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
}

// Still runs f while nobody who takes the lock creates, deletes or renames a mailbox. f
// must not call methods of t that change the tree. Still may return ErrLocked. If ctx ends,
// the wait ends, but not f.
func (t *Tree) Still(ctx context.Context, f func() error) error { return t.withLock(ctx, f) }

// wait waits until the next attempt to get a lock, or until ctx ends.
func (t *Tree) wait(ctx context.Context) error {
	select {
	case <-time.After(t.pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cancelableMutex is a mutex on which a wait can be cancelled: a channel with capacity 1, which is
// full while it is held.
type cancelableMutex chan struct{}

func (u cancelableMutex) take(ctx context.Context) error {
	select {
	case u <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u cancelableMutex) give() { <-u }

// tryTreeLock returns nil if somebody else has the lock.
func (t *Tree) tryTreeLock() (*dirfd.File, error) {
	f, err := t.root.OpenAppend(treeLock)
	if errors.Is(err, fs.ErrNotExist) {
		return t.makeTreeLock()
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil // the file of a program that runs as another user
	}
	if err != nil {
		return nil, err
	}
	ours := false
	if lockWhole(f) {
		ours, err = t.isNamed(f, treeLock)
	}
	if !ours || err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (t *Tree) makeTreeLock() (*dirfd.File, error) {
	rights, err := t.root.Rights()
	if err != nil {
		return nil, err
	}
	name := treeLock + "." + rand.Text()
	f, err := t.root.CreateAs(name, rights)
	if err != nil {
		return nil, err
	}
	if lockWhole(f) {
		if err = t.root.RenameNoReplace(name, t.root, treeLock); err == nil {
			return f, nil
		}
	}
	_ = f.Close()
	if removeErr := t.root.Remove(name); err == nil || errors.Is(err, fs.ErrExist) {
		return nil, removeErr
	}
	return nil, err
}

// lockWhole acquires an open file description lock. It excludes other goroutines of this
// process too, and conflicts with Dovecot's process locks.
func lockWhole(f *dirfd.File) bool {
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole) == nil
}

// isNamed reports whether an open file still has the given name.
func (t *Tree) isNamed(f *dirfd.File, name string) (bool, error) {
	st, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	own, ownErr := dirfd.FileStat(f)
	if err = errors.Join(err, ownErr); err != nil {
		return false, err
	}
	return own.ID() == st.ID(), nil
}

// maxTreeFile limits the size in bytes of files that are read completely.
const maxTreeFile = 16 << 20

// rewrite replaces one of the tree's own files in the same way as Dovecot: it writes the
// new content to "<name>.lock", which must not exist before, and renames that to the file's
// name. edit gets the present content, nil if there is no file, and returns the new one; if
// it returns nil, the file is not changed. If ctx ends, the wait for the lock ends.
func (t *Tree) rewrite(ctx context.Context, name string, edit func(old []byte) ([]byte, error)) error {
	deadline := t.now().Add(t.file)
	if err := t.fileTurn.take(ctx); err != nil {
		return err
	}
	defer t.fileTurn.give()
	lock := name + ".lock"
	f, err := t.createLock(ctx, lock, deadline)
	if err != nil {
		return err
	}
	defer f.Close()
	giveUp := func(err error) error { return errors.Join(err, t.root.Remove(lock)) }
	old, err := t.root.ReadFile(name, maxTreeFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return giveUp(err)
	}
	content, err := edit(old)
	if content == nil && t.doubtful[name] {
		content = old
	}
	if err != nil || content == nil {
		return giveUp(err)
	}
	if _, err = f.Write(content); err == nil && t.opt.Fsync {
		err = f.Sync()
	}
	if err != nil {
		return giveUp(err)
	}
	switch ours, err := t.isNamed(f, lock); {
	case err != nil:
		return giveUp(err)
	case !ours:
		return fmt.Errorf("%w: %s/%s was taken away while in use", ErrLocked, t.root.Path(), lock)
	}
	if err = t.root.Rename(lock, t.root, name); err != nil {
		return giveUp(err)
	}
	err = t.settle(name)
	if err != nil && old == nil { // otherwise, whoever opens the tree next would assume that it is durable
		err = errors.Join(err, t.root.Remove(name))
	}
	return err
}

// settle makes the name of a file that was just written durable. t.fileTurn is held.
func (t *Tree) settle(name string) error {
	if !t.opt.Fsync {
		return nil
	}
	err := t.root.Sync()
	if err != nil {
		t.doubtful[name] = true
	} else {
		delete(t.doubtful, name)
	}
	return err
}

func (t *Tree) createLock(ctx context.Context, lock string, deadline time.Time) (*dirfd.File, error) {
	rights, err := t.root.Rights()
	if err != nil {
		return nil, err
	}
	for {
		f, err := t.root.CreateAs(lock, rights)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		if t.removeStale(lock) {
			continue
		}
		if t.now().After(deadline) {
			return nil, fmt.Errorf("%w: %s/%s", ErrLocked, t.root.Path(), lock)
		}
		if err := t.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// removeStale removes a lock file that nobody has touched for long. It first moves the file
// aside: if that turns out to be a fresh lock that has just replaced the stale one, it
// moves it back.
func (t *Tree) removeStale(lock string) bool {
	seen, err := t.root.Lstat(lock)
	if err != nil || t.now().Sub(seen.Changed()) < t.stale {
		return false
	}
	aside := lock + "." + rand.Text()
	if t.root.Rename(lock, t.root, aside) != nil { // in one step, on every file system
		return false
	}
	moved, err := t.root.Lstat(aside)
	if err != nil {
		return false
	}
	// A new file may have the inode number of the removed one, but not its time.
	if moved.ID() != seen.ID() || !moved.Mtime.Equal(seen.Mtime) {
		_ = t.root.RenameNoReplace(aside, t.root, lock)
		return false
	}
	return t.root.RemoveAll(aside) == nil
}
