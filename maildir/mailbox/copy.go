package mailbox

import (
	"context"
	"errors"
	"fmt"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Copied pairs the UIDs of messages with those of their copies, in the same order.
type Copied struct {
	UIDValidity  uint32 // of the destination
	Source, Dest []uint32
}

// original is a message to copy.
type original struct {
	msg   Message
	base  string
	guid  string
	words []string
}

// Copy copies messages to dst, which may be this mailbox: all or none, durable on return,
// with flags, keywords and dates. A copy is a hard link where the file system supports it.
// Copy returns ErrGone if one of the messages no longer exists, ErrBusy if other programs
// keep renaming their files for a minute, and quota.ErrOver if dst's quota has no room for
// them.
func (v *View) Copy(ctx context.Context, uids []uint32, dst *Mailbox) (Copied, error) {
	originals := v.originals(uids)
	if err := v.roomFor(originals, dst); err != nil {
		return Copied{}, err
	}
	c, err := v.copy(ctx, originals, dst)
	if err == nil { // nobody waits long for an answer because of dates that can be written later
		ctx, cancel := context.WithTimeout(ctx, lockPatience)
		defer cancel()
		v.m.settleSaved(ctx)
	}
	return c, err
}

// roomFor checks the quota of the destination. A copy counts as much as its original.
func (v *View) roomFor(originals []original, dst *Mailbox) error {
	if dst.quota == nil || len(originals) == 0 {
		return nil
	}
	if limited, err := dst.quota.Limited(); err == nil && !limited {
		return nil
	}
	bytes := int64(0)
	for _, o := range originals {
		bytes += v.m.fileSize(o.msg.row)
	}
	return dst.room(bytes, int64(len(originals)))
}

// copy is Copy after the quota check. Move starts with it too.
func (v *View) copy(ctx context.Context, originals []original, dst *Mailbox) (Copied, error) {
	if len(originals) == 0 {
		return Copied{UIDValidity: dst.UIDValidity()}, nil
	}
	for end := v.m.env.Now().Add(changePatience); ; {
		var lost *Message
		c := Copied{}
		err := dst.change(ctx, func(lock *dotlock.Lock) error {
			var err error
			if !dst.quiet() { // a copy must not get the base of a file that has not been noticed yet
				if err := dst.lookUnderLock(ctx, lock); err != nil {
					return err
				}
				if err := dst.check(); err != nil {
					return err
				}
			}
			c.Dest, lost, err = dst.copyIn(ctx, lock, v.m, originals)
			return err
		})
		if lost != nil {
			// Its file was renamed by another program: nothing is locked now, so find out
			// where it went and with which flags, and start again.
			if v.m.env.Now().After(end) {
				return Copied{}, ErrBusy
			}
			if err := v.m.find(ctx, *lost); err != nil {
				return Copied{}, err
			}
			for i := range originals {
				v.describe(&originals[i])
			}
			continue
		}
		if err != nil {
			return Copied{}, err
		}
		c.UIDValidity = dst.UIDValidity()
		for _, o := range originals {
			c.Source = append(c.Source, o.msg.UID)
		}
		return c, nil
	}
}

// Move moves messages to dst. At any moment, each message is in at least one of the two
// mailboxes. After an error, the messages in the result have been moved. Moving within an
// account needs no room in the quota.
//
// A file is linked to dst, and removed here once that link is durable and has a UID. If the process
// is killed in between, the message is in both. A rename would not leave it in both, but undoing it
// after an error may fail, and then the message is gone from here although the client was refused;
// and unless both mailboxes were locked, others would see it leave and come back with another UID.
func (v *View) Move(ctx context.Context, uids []uint32, dst *Mailbox) (Copied, error) {
	if v.readOnly {
		return Copied{}, ErrReadOnly
	}
	// Copies that wait for the removal of the originals are seen by others, and stay if the
	// process is killed.
	if err := v.m.waitForLock(ctx); err != nil {
		return Copied{}, err
	}
	originals := v.originals(uids)
	if dst.quota != v.m.quota {
		if err := v.roomFor(originals, dst); err != nil {
			return Copied{}, err
		}
	}
	c, err := v.copy(ctx, originals, dst) // from here on, originals have the flags of the copies
	if err != nil || len(c.Source) == 0 {
		return c, err
	}
	m := v.m
	err = m.change(ctx, func(lock *dotlock.Lock) error {
		rows := make([]uint32, 0, len(c.Source))
		for _, uid := range c.Source {
			if n, ok := m.t.ByUID(uid); ok && m.t.Row(n).State == table.Present {
				rows = append(rows, n)
			}
		}
		_, err := m.remove(lock, rows, 0)
		return err
	})
	dst.flagAfter(ctx, m, originals, c)
	if err != nil {
		c = v.takeBack(ctx, originals, c, dst)
	}
	return c, err
}

// flagAfter applies to moved messages the flag changes that other programs made to the
// originals between the copy and the removal. An error is only logged, since the messages
// have been moved by then; a keyword for which there is no letter is left out.
func (dst *Mailbox) flagAfter(ctx context.Context, src *Mailbox, originals []original, c Copied) {
	type change struct {
		uid   uint32
		op    Op
		flags filename.Flags
		words []string
	}
	var changes []change
	src.mu.RLock()
	for i, o := range originals {
		was, is := o.msg.Flags, src.t.Row(o.msg.row).Flags
		if came := is &^ was; came != 0 {
			words := src.names.of(came)
			if came&filename.Passed != 0 {
				words = append(words, forwarded)
			}
			changes = append(changes, change{c.Dest[i], Add, came &^ filename.Keywords, words})
		}
		if went := was &^ is; went != 0 {
			changes = append(changes, change{c.Dest[i], Remove, went &^ filename.Keywords, src.names.of(went)})
		}
	}
	src.mu.RUnlock()
	if len(changes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changePatience)
	defer cancel()
	err := dst.change(ctx, func(*dotlock.Lock) error {
		var lost error
		for _, ch := range changes {
			for _, word := range ch.words {
				letter, err := dst.letters([]string{word}, ch.op == Add)
				if errors.Is(err, ErrKeywords) {
					lost = fmt.Errorf("%s: %w", word, err)
				} else if err != nil {
					return err
				}
				ch.flags |= letter
			}
			n, ok := dst.t.ByUID(ch.uid)
			if !ok {
				continue
			}
			err := dst.setFlags(n, entry{}, nil, flagChange{ch.op, ch.flags, always})
			if err != nil && !errors.Is(err, ErrGone) {
				return err
			}
		}
		return errors.Join(lost, dst.dirs.sync())
	})
	if err != nil {
		dst.env.Log.Warn("flags set on messages while they were being moved are lost", "mailbox", src.Path(), "other", dst.Path(), "error", err)
	}
}

// takeBack removes the copies of messages that could not be removed from the view's
// mailbox, and returns the others. A copy is only removed if the original is found: a removal
// that failed may have been done all the same, as on a network file system.
func (v *View) takeBack(ctx context.Context, originals []original, c Copied, dst *Mailbox) Copied {
	// Shutdown or a client that disconnects must not leave the messages in both mailboxes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changePatience)
	defer cancel()
	m := v.m
	moved := Copied{UIDValidity: c.UIDValidity}
	var back []uint32
	unsure, why := 0, error(nil)
	for i, o := range originals {
		switch err := m.find(ctx, o.msg); {
		case err == nil:
			back = append(back, c.Dest[i])
		case errors.Is(err, ErrGone):
			moved.Source, moved.Dest = append(moved.Source, c.Source[i]), append(moved.Dest, c.Dest[i])
		default:
			unsure, why = unsure+1, err
		}
	}
	if len(back) > 0 {
		err := dst.changeAnyway(ctx, func(lock *dotlock.Lock) error {
			var rows []uint32
			for _, uid := range back {
				if n, ok := dst.t.ByUID(uid); ok {
					rows = append(rows, n)
				}
			}
			_, err := dst.remove(lock, rows, 0)
			return err
		})
		if err != nil {
			unsure, why = unsure+len(back), err
		}
	}
	if unsure > 0 {
		m.env.Log.Error("messages that could not be moved may be in both mailboxes", "mailbox", m.Path(), "other", dst.Path(),
			"messages", unsure, "error", why)
	}
	return moved
}

// originals collects what is to be copied, in the order of the given UIDs.
func (v *View) originals(uids []uint32) []original {
	m := v.m
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]original, 0, len(uids))
	for _, uid := range uids {
		n, ok := m.t.ByUID(uid)
		if !ok || !v.has(n) {
			continue
		}
		o := original{msg: v.message(n, 0), base: string(m.t.Base(n))}
		o.guid = m.guidOf(n, o.base)
		o.words = m.names.of(o.msg.Flags)
		out = append(out, o)
	}
	return out
}

// describe updates the flags of an original.
func (v *View) describe(o *original) {
	m := v.m
	m.mu.RLock()
	defer m.mu.RUnlock()
	o.msg.Flags = m.t.Row(o.msg.row).Flags
	o.words = m.names.of(o.msg.Flags)
}

// copyIn makes the copies under dst's lock. If the file of a message was not where it
// should be, lost is that message, and the copies made so far have been undone.
func (dst *Mailbox) copyIn(ctx context.Context, lock *dotlock.Lock, src *Mailbox, originals []original) (uids []uint32, lost *Message, err error) {
	files := make([]entry, 0, len(originals))
	ext := make([]string, len(originals))
	bases := make(map[string]bool, len(originals))
	defer dst.mute(countFlagged(originals), len(originals))()
	defer dst.events.expect()()
	for i, o := range originals {
		if err := ctx.Err(); err != nil {
			return nil, nil, dst.undo(files, err)
		}
		if i%256 == 255 {
			dst.touch(lock)
		}
		letters, err := dst.letters(o.words, true)
		if err != nil {
			return nil, nil, dst.undo(files, err)
		}
		flags := o.msg.Flags&^filename.Keywords | letters
		e, err := dst.copyFile(ctx, src, o, flags, bases)
		if err != nil {
			if undone := dst.undo(files, err); undone != err || !errors.Is(err, errMoved) {
				return nil, nil, undone
			}
			return nil, &originals[i].msg, err
		}
		base := filename.Base(e.name)
		bases[base] = true
		if o.guid != baseGUID(base) {
			ext[i] = "G" + o.guid
		}
		files = append(files, e)
	}
	uids, err = dst.admit(lock, files, ext)
	return uids, nil, err
}

// countFlagged counts the messages whose copies go to cur/.
func countFlagged(originals []original) (count int) {
	for _, o := range originals {
		if o.msg.Flags != 0 {
			count++
		}
	}
	return count
}
