package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
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
func (v *View) Move(ctx context.Context, uids []uint32, dst *Mailbox) (Copied, error) {
	if v.readOnly {
		return Copied{}, ErrReadOnly
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
			words := src.wordsOf(came)
			if came&filename.Passed != 0 {
				words = append(words, forwarded)
			}
			changes = append(changes, change{c.Dest[i], Add, came &^ filename.Keywords, words})
		}
		if went := was &^ is; went != 0 {
			changes = append(changes, change{c.Dest[i], Remove, went &^ filename.Keywords, src.wordsOf(went)})
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
		return errors.Join(lost, dst.syncTouched())
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
		o.words = m.wordsOf(o.msg.Flags)
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
	o.words = m.wordsOf(o.msg.Flags)
}

// wordsOf returns the names of the keyword letters among flags. m.mu is held.
func (m *Mailbox) wordsOf(flags filename.Flags) (words []string) {
	flags.EachKeyword(func(i int) {
		if m.names[i] != "" {
			words = append(words, m.names[i])
		}
	})
	return words
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

// errMoved means that an original is not where the table has it, or has different flags by
// now.
var errMoved = errors.New("the file was moved")

// copyFile puts one copy into dst's new/ or cur/.
func (dst *Mailbox) copyFile(ctx context.Context, src *Mailbox, o original, flags filename.Flags, taken map[string]bool) (entry, error) {
	from, err := src.location(o.msg)
	if err != nil {
		return entry{}, err
	}
	if filename.FlagsOf(from.name) != o.msg.Flags {
		return entry{}, errMoved
	}
	e, err := dst.copyFrom(ctx, src, from, o, flags, taken)
	if errors.Is(err, fs.ErrNotExist) { // in which of the two folders?
		if _, serr := src.in(from.where).Lstat(from.name); errors.Is(serr, fs.ErrNotExist) {
			err = errMoved
		}
	}
	return e, err
}

// copyFrom is copyFile for an original whose place is known.
func (dst *Mailbox) copyFrom(ctx context.Context, src *Mailbox, from entry, o original, flags filename.Flags, taken map[string]bool) (entry, error) {
	st, err := src.in(from.where).Lstat(from.name)
	if err != nil {
		return entry{}, err
	}
	if !st.Regular() {
		return entry{}, fmt.Errorf("%s in %s: %w", from.name, src.Path(), dirfd.ErrNotRegular)
	}
	if err := src.ownFile(from, st); err != nil {
		return entry{}, err
	}
	src.foundSaved(o.msg.row, st.Ctime) // a link changes it
	e := entry{where: table.InNew, inode: st.InodeSum()}
	if flags != 0 {
		e.where = table.InCur
	}
	base := o.base
	if ok, err := dst.canKeepBase(src, from, st, base); err != nil {
		return entry{}, err
	} else if !ok || taken[base] {
		if base, err = dst.freshBase(src, from, st); err != nil {
			return entry{}, err
		}
	}
	e.name = named(base, flags)
	if owns, err := dst.in(e.where).Owns(st.UID); err != nil || !owns {
		// dirfd does not read a link to another user's file.
		return dst.copyBytes(ctx, src, from, flags)
	}
	err = src.in(from.where).Link(from.name, dst.in(e.where), e.name)
	if errors.Is(err, fs.ErrExist) {
		// A file that has not been noticed yet has that name.
		if base, err = dst.freshBase(src, from, st); err != nil {
			return entry{}, err
		}
		e.name = named(base, flags)
		err = src.in(from.where).Link(from.name, dst.in(e.where), e.name)
	}
	switch { // only a free name shows whether a link is possible
	case err == nil, errors.Is(err, fs.ErrExist):
	case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EMLINK), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP):
		return dst.copyBytes(ctx, src, from, flags)
	default: // it may have been done all the same, as on a network file system after a timeout
		if made, merr := dst.in(e.where).Lstat(e.name); merr == nil && made.ID() == st.ID() {
			err = nil
		}
	}
	return e, err
}

// plainSize returns the size of a message in bytes as "S=" gives it: if the file is
// compressed, that of its text.
func (m *Mailbox) plainSize(at entry, st dirfd.Stat) (int64, error) {
	var f File
	err := f.open(m.in(at.where), at.name, noRoom, m.env.Scratch)
	if errors.Is(err, compress.ErrDamaged) || errors.Is(err, compress.ErrTooBig) {
		return st.Size, nil // it can be copied all the same
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size, nil
}

func named(base string, flags filename.Flags) string {
	if flags == 0 {
		return base
	}
	return filename.WithFlags(base, flags)
}

// freshBase returns a new base for a copy. It contains the same sizes as the original's
// base, unless "S=" is wrong there. "W=" is kept, because Dovecot 2.3, when it copies a
// name that has only "S=", adds a "W=" with the same number, and trusts it.
func (dst *Mailbox) freshBase(src *Mailbox, from entry, st dirfd.Stat) (string, error) {
	base := dst.env.Delivery.UniqueName()
	s, w := filename.Sizes(filename.Base(from.name))
	if s < 0 {
		return base, nil
	}
	if s != st.Size {
		if plain, err := src.plainSize(from, st); err != nil || plain != s {
			return base, err
		}
	}
	base = fmt.Sprintf("%s,S=%d", base, s)
	if w >= 0 {
		base = fmt.Sprintf("%s,W=%d", base, w)
	}
	return base, nil
}

// canKeepBase reports whether a copy can have the base of its original: no message in dst has
// or had it, its "S=" is correct, and it contains no UID of mbsync's, which would identify
// another message in dst.
func (dst *Mailbox) canKeepBase(src *Mailbox, from entry, st dirfd.Stat, base string) (bool, error) {
	dst.mu.RLock()
	_, used := dst.t.Lookup(base)
	dst.mu.RUnlock()
	if used || filename.HasField(base, 'U') {
		return false, nil
	}
	s, _ := filename.Sizes(base)
	if s < 0 || s == st.Size {
		return true, nil
	}
	size, err := src.plainSize(from, st)
	return s == size, err
}

// copyBytes copies to a destination to which no hard link can be made.
func (dst *Mailbox) copyBytes(ctx context.Context, src *Mailbox, from entry, flags filename.Flags) (entry, error) {
	var f File
	if err := f.open(src.in(from.where), from.name, noRoom, src.env.Scratch); err != nil {
		return entry{}, err
	}
	defer f.Close()
	temp, err := dst.newTemp()
	if err != nil {
		return entry{}, err
	}
	defer temp.Abort()
	if err := copyText(ctx, temp, &f); err != nil {
		return entry{}, err
	}
	if _, err := temp.Finish(f.Mtime); err != nil {
		return entry{}, err
	}
	return dst.commit(temp, flags)
}

// copyPiece is how many bytes are copied between two checks of the context.
const copyPiece = 1 << 20

// copyText copies the text of a file. Holes stay holes, so that the copy needs no more disk
// space than the original.
func copyText(ctx context.Context, to *delivery.Temp, f *File) error {
	for at := int64(0); at < f.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if hole := min(f.Hole(at), f.Size) - at; hole > 0 {
			if err := to.Hole(hole); err != nil {
				return err
			}
			at += hole
			continue
		}
		n, err := io.Copy(to, io.NewSectionReader(f, at, min(copyPiece, f.Size-at)))
		if err != nil {
			return err
		}
		if n == 0 {
			return nil // the file was truncated
		}
		at += n
	}
	return nil
}
