package mailbox

import (
	"context"
	"errors"
	"syscall"

	"maildird/maildir/dotlock"
)

// When the file system is full, or a user's disk quota is used up, it must still be
// possible to read and remove mail, since nothing else makes room. Work that only adds data
// is postponed and retried every pollInterval: UIDs for new mail, the move from new/ to
// cur/, the records that a uidlist has lost, the history. Whatever a client asks to add
// fails.
//
// The uidlist's lock is a file, which takes at least an inode (package dotlock). If there
// is none left, no other program can get the lock either. mutt and others remove files, and
// rename them to change flags, without any lock, so maildird does that without the lock
// too; it then writes nothing that the lock protects.

// backlog is what remains to be done because there was no room for it. Mailbox.sync guards it.
type backlog struct {
	full       bool // something was postponed, and no look has found nothing to postpone since
	postponed  bool // something was postponed since the last look began
	incomplete bool // new mail was left out, which has no UID
}

// postpone notes that something was postponed, and reports whether it is the first.
func (b *backlog) postpone() (first bool) {
	first = !b.full
	b.full, b.postponed = true, true
	return first
}

// begin is called when a look begins.
func (b *backlog) begin() { b.postponed = false }

// end is called when a look is complete. It reports whether there is room again.
func (b *backlog) end() (room bool) {
	room = b.full && !b.postponed
	b.full = b.postponed
	return room
}

// takeIncomplete returns incomplete and resets it: the next look finds the mail.
func (b *backlog) takeIncomplete() (was bool) {
	was, b.incomplete = b.incomplete, false
	return was
}

func (b *backlog) empty() bool { return !b.full && !b.incomplete }

// errNoRoom means that there is no room even for the lock.
var errNoRoom = errors.New("no room for the mailbox's lock")

// isFull reports whether an error says that the file system, or the user's share of it, is
// full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// postpone notes that work was postponed because the disk is full, and arranges for the
// sessions to be woken to look again. m.sync is held.
func (m *Mailbox) postpone(err error) {
	if m.backlog.postpone() {
		m.env.Log.Warn("no room on the file system: new mail is shown, and moved to cur/, when there is",
			"mailbox", m.Path(), "error", err)
	}
	m.alarms.set(lookAlarm, pollInterval)
}

// leaveOut leaves new mail out because the disk is full. m.sync is held.
func (m *Mailbox) leaveOut(err error) {
	m.postpone(err)
	m.backlog.incomplete = true
	m.events.orderScan()
}

// postponeIfFull returns nil if the error says that the disk is full, after noting that, and
// otherwise the error.
func (m *Mailbox) postponeIfFull(err error) error {
	if !isFull(err) {
		return err
	}
	m.postpone(err)
	return nil
}

// changeAnyway is change for operations that need nothing but the existing file names: if
// there is no room for the lock, it runs f without it, with a nil lock.
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
	m.postpone(err)
	if err := m.readList(); err != nil {
		return err
	}
	err = f(nil)
	m.events.orderScan()
	// Removing files has made room for the rest.
	lerr := m.locked(ctx, lockPatience, func(lock *dotlock.Lock) error {
		if terr := m.tidy(); terr != nil {
			return terr
		}
		return m.settle(ctx, lock)
	})
	if lerr != nil && !errors.Is(lerr, errNoRoom) && !errors.Is(lerr, dotlock.ErrLocked) {
		m.settleLater(lerr)
	}
	m.wake()
	return err
}
