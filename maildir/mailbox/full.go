package mailbox

import (
	"context"
	"errors"
	"syscall"

	"maildird/maildir/dotlock"
)

// On a file system without room, or for a user without any in his disk quota,
// mail has to be read and removed all the same: nothing else makes room. What
// only adds is put off, and tried again every pollInterval: UIDs for new mail,
// the move from new/ to cur/, a tidier uidlist, the history. What a client asked
// to be added fails.
//
// The uidlist's lock is a file, which takes an inode at least (package dotlock).
// Where there is none, no other program can have the lock either. Removing files
// and renaming them for their flags is what mutt and others do without any lock,
// so it is done without; nothing that the lock protects is written then.

// errNoRoom says that there is no room even for the lock.
var errNoRoom = errors.New("no room for the mailbox's lock")

// isFull tells whether an error says that the file system, or the user's share
// of it, is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// short notes that something is put off for want of room, and has the sessions
// woken to look again. m.sync is held.
func (m *Mailbox) short(err error) {
	if !m.full {
		m.env.Log.Warn("no room on the file system: new mail is shown, and moved to cur/, when there is",
			"mailbox", m.Path(), "error", err)
	}
	m.full = true
	m.shorts++
	m.again.Reset(pollInterval)
}

// roomAgain notes that nothing had to be put off since shorts was read.
func (m *Mailbox) roomAgain(shorts int) {
	if m.full && m.shorts == shorts {
		m.full = false
		m.env.Log.Info("there is room on the file system again", "mailbox", m.Path())
	}
}

// shortOrNot is nil for an error that says that there is no room, and which was
// noted.
func (m *Mailbox) shortOrNot(err error) error {
	if !isFull(err) {
		return err
	}
	m.short(err)
	return nil
}

// changeAnyway is change for what needs no more than the file names that are
// there: it is done without the lock, which is nil then, where there is no room
// for one.
func (m *Mailbox) changeAnyway(ctx context.Context, f func(*dotlock.Lock) error) error {
	err := m.change(ctx, f)
	if !errors.Is(err, errNoRoom) {
		return err
	}
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	if err := m.check(); err != nil {
		return err
	}
	m.short(err)
	if err := m.readList(); err != nil {
		return err
	}
	err = f(nil)
	m.events.orderScan()
	// What was removed has made room for the rest.
	lerr := m.locked(ctx, lockPatience, func(lock *dotlock.Lock) error {
		if terr := m.tidy(); terr != nil {
			return terr
		}
		return m.settle(ctx, lock)
	})
	m.wake()
	if errors.Is(lerr, errNoRoom) || errors.Is(lerr, dotlock.ErrLocked) {
		return err
	}
	return errors.Join(err, lerr)
}
