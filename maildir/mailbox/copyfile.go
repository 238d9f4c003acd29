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
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

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
		if _, serr := src.dirs.lstat(from); errors.Is(serr, fs.ErrNotExist) {
			err = errMoved
		}
	}
	return e, err
}

// copyFrom is copyFile for an original whose place is known.
func (dst *Mailbox) copyFrom(ctx context.Context, src *Mailbox, from entry, o original, flags filename.Flags, taken map[string]bool) (entry, error) {
	st, err := src.dirs.lstat(from)
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
	if owns, err := dst.dirs.in(e.where).Owns(st.UID); err != nil || !owns {
		// dirfd does not read a link to another user's file.
		return dst.copyBytes(ctx, src, from, flags)
	}
	err = dst.dirs.link(&src.dirs, from, st, e)
	if errors.Is(err, fs.ErrExist) {
		// A file that has not been noticed yet has that name.
		if base, err = dst.freshBase(src, from, st); err != nil {
			return entry{}, err
		}
		e.name = named(base, flags)
		err = dst.dirs.link(&src.dirs, from, st, e)
	}
	switch { // only a free name shows whether a link is possible
	case err == nil, errors.Is(err, fs.ErrExist):
	case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EMLINK), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP):
		return dst.copyBytes(ctx, src, from, flags)
	}
	return e, err
}

// plainSize returns the size of a message in bytes as "S=" gives it: if the file is
// compressed, that of its text.
func (m *Mailbox) plainSize(at entry, st dirfd.Stat) (int64, error) {
	var f File
	err := f.open(m.dirs.in(at.where), at.name, noRoom, m.env.Scratch)
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
	if err := f.open(src.dirs.in(from.where), from.name, noRoom, src.env.Scratch); err != nil {
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
