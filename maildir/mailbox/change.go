package mailbox

import (
	"context"
	"errors"
	"fmt"

	"maildird/maildir/dotlock"
)

// change runs f under the uidlist's lock and wakes the other sessions. If f returns no error,
// neither does change, whatever fails after it: a client that is refused repeats what is done.
func (m *Mailbox) change(ctx context.Context, f func(*dotlock.Lock) error) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	if err := m.check(); err != nil {
		return err
	}
	done := false
	err := m.locked(ctx, changePatience, func(lock *dotlock.Lock) error {
		quiet := m.watch.on && m.quiet()
		if m.untidy() {
			if err := m.tidy(); err != nil {
				return err
			}
		}
		err := f(lock)
		// f cannot be undone by the caller's giving up.
		ctx := context.WithoutCancel(ctx)
		if err != nil {
			return errors.Join(err, m.settle(ctx, lock))
		}
		done = true
		// If nothing was new before this change, nothing else is new after it. Events
		// report what programs that take no lock do meanwhile; where there are no events,
		// the folder is examined again.
		if now, err := m.readTimes(); quiet && err == nil {
			m.setTimes(now)
		}
		if err := m.settle(ctx, lock); err != nil {
			m.settleLater(err)
		}
		return nil
	})
	if done && errors.Is(err, dotlock.ErrStolen) && !errors.Is(err, ErrReplaced) {
		m.lookLater(err)
		err = nil
	}
	m.wake()
	if errors.Is(err, errNoLock) {
		m.cannotWrite(err)
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

// waitForLock waits while another program holds the lock, as change does. Somebody may take it as
// soon as it is free: this serves those who need it in a moment, and can still give up.
func (m *Mailbox) waitForLock(ctx context.Context) error {
	if _, err := m.dir.Lstat(uidlistLock); err != nil {
		return nil
	}
	return m.change(ctx, func(*dotlock.Lock) error { return nil })
}

// settleLater has a look do what settle could not do after a change: what a client was told
// is done cannot be refused any more. m.sync is held.
func (m *Mailbox) settleLater(err error) {
	if m.t.Broken() || errors.Is(m.endIfReplaced(err), ErrReplaced) {
		return // the folder has to be opened again
	}
	m.lookLater(err)
}

// lookLater is settleLater for a folder that is still there.
func (m *Mailbox) lookLater(err error) {
	m.env.Log.Warn("the mailbox was changed, but not examined to the end, looking again later", "mailbox", m.Path(), "error", err)
	m.events.orderScan()
	m.alarms.set(lookAlarm, pollInterval)
}

// lookUnderLock takes over what other programs have done so far.
func (m *Mailbox) lookUnderLock(ctx context.Context, lock *dotlock.Lock) (err error) {
	scan := true
	if m.watch.on {
		scan, err = m.followAll(ctx, lock)
	}
	if err == nil && scan {
		err = m.scan(ctx, lock)
	}
	if err != nil {
		m.events.orderScan()
	}
	return err
}

// mute is watching.mute. m.sync is held.
func (m *Mailbox) mute(cur, events int) (unmute func()) {
	m.mu.RLock()
	files := m.t.Count()
	m.mu.RUnlock()
	return m.watch.mute(cur, events, files)
}
