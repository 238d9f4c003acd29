// Package dotlock takes and gives back Dovecot's lock files.
package dotlock

import (
	"context"
	"errors"
	"time"

	"maildird/maildir/dirfd"
)

// ErrLocked says that another program, or another part of this one, holds the
// lock.
var ErrLocked = errors.New("locked by another program")

// Options of one Acquire.
type Options struct {
	Timeout time.Duration // how long to wait; 0: until the context ends
	Stale   time.Duration // age at which the lock of an unknown holder counts as left behind; 0: 120 s
	Watch   []string      // names beside the lock whose change proves the holder alive
}

// Locker takes locks. One per process. Safe for concurrent use.
type Locker struct{ host string }

// NewLocker returns a Locker that writes host into its lock files; "" is the
// host name of the system.
func NewLocker(host string) *Locker { return &Locker{host: host} }

// Lock is a lock that is held.
type Lock struct{}

// Acquire waits for the lock.
func (l *Locker) Acquire(ctx context.Context, dir *dirfd.Dir, name string, opt Options) (*Lock, error) {
	return nil, errUnfinished
}

// Try takes the lock or gives ErrLocked at once.
func (l *Locker) Try(dir *dirfd.Dir, name string, opt Options) (*Lock, error) {
	return nil, errUnfinished
}

// Touch shows in long work that the holder is alive.
func (l *Lock) Touch() error { return errUnfinished }

// Release gives the lock back.
func (l *Lock) Release() error { return errUnfinished }

var errUnfinished = errors.New("dotlock: not written yet")
