// Package dupes finds messages that have several names in a folder: with the same base and
// different flags, or in new/ and cur/ at the same time.
//
// A copy made by several passes of rsync is full of these, and two programs that rename a
// message at the same moment occasionally leave one. A server treats them as different
// messages.
package dupes

import (
	"bytes"
	"cmp"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"math/bits"
	"slices"
	"strings"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/walk"
)

// File is one name of a message.
type File struct {
	Part string // "new" or "cur"
	Name string
	dirfd.Stat
}

func (f File) String() string { return f.Part + "/" + f.Name }

// Group is the names that have one base, the one to keep first.
type Group struct {
	Base  string
	Files []File
}

// Find returns the groups of two or more files in a folder, sorted by base. It uses eight
// bytes of memory for each message. Names that others change meanwhile may be missed, but
// names that are gone are never returned.
func Find(folder *dirfd.Dir) ([]Group, error) {
	seed := maphash.MakeSeed()
	var hashes []uint64
	if err := each(folder, func(_ string, raw []byte) {
		hashes = append(hashes, maphash.Bytes(seed, base(raw)))
	}); err != nil {
		return nil, err
	}
	slices.Sort(hashes)
	twice := map[uint64]bool{}
	for i := 1; i < len(hashes); i++ {
		if hashes[i] == hashes[i-1] {
			twice[hashes[i]] = true
		}
	}
	hashes = nil
	if len(twice) == 0 {
		return nil, nil
	}
	byBase := map[string][]File{}
	if err := each(folder, func(part string, raw []byte) {
		if b := base(raw); twice[maphash.Bytes(seed, b)] {
			byBase[string(b)] = append(byBase[string(b)], File{Part: part, Name: string(raw)})
		}
	}); err != nil {
		return nil, err
	}
	var groups []Group
	for b, files := range byBase {
		g, err := present(folder, Group{b, files})
		if err != nil {
			return nil, err
		}
		if len(g.Files) > 1 {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Base, b.Base) })
	return groups, nil
}

func base(raw []byte) []byte {
	b, _, _ := bytes.Cut(raw, []byte{':'})
	return b
}

// each calls f for each name that can be a message's.
func each(folder *dirfd.Dir, f func(part string, raw []byte)) error {
	for _, part := range walk.MailDirs[:2] {
		d, err := folder.OpenDir(part)
		if walk.Gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = d.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
			if (kind == dirfd.KindRegular || kind == dirfd.KindUnknown) && raw[0] != '.' && raw[0] != ':' {
				f(part, raw)
			}
			return true
		})
		_ = d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// present looks up the files of a group, drops those that do not exist, and sorts the rest.
func present(folder *dirfd.Dir, g Group) (Group, error) {
	var kept []File
	for _, f := range g.Files {
		st, err := lstat(folder, f)
		f.Stat = st
		if errors.Is(err, fs.ErrNotExist) || err == nil && !f.Regular() {
			continue
		}
		if err != nil {
			return g, err
		}
		kept = append(kept, f)
	}
	slices.SortFunc(kept, compare)
	// A directory that changes while it is being listed may return a name twice.
	g.Files = slices.CompactFunc(kept, func(a, b File) bool { return a.String() == b.String() })
	return g, nil
}

func lstat(folder *dirfd.Dir, f File) (dirfd.Stat, error) {
	d, err := folder.OpenDir(f.Part)
	if err != nil {
		return dirfd.Stat{}, err
	}
	defer d.Close()
	return d.Lstat(f.Name)
}

// compare puts the name to keep first.
//
// In a copy, the time of the last status change (ctime) is when the copying program gave
// the file its name, which was the message's name at the source at that time: the most
// recent one is the message's last name. Nothing else in the copy shows that; the
// modification time is the same for all of them. If the copy was copied again and the times
// are equal, cur comes before new, since messages do not go back there; a name without T
// comes before one with it, since a message that is not deleted can be deleted again, but
// not the reverse; and more flags come before fewer.
func compare(a, b File) int {
	flags := func(f File) filename.Flags { return filename.FlagsOf(f.Name) }
	return cmp.Or(
		b.Ctime.Compare(a.Ctime),
		b.Mtime.Compare(a.Mtime),
		strings.Compare(a.Part, b.Part),
		cmp.Compare(flags(a)&filename.Deleted, flags(b)&filename.Deleted),
		cmp.Compare(bits.OnesCount32(uint32(flags(b))), bits.OnesCount32(uint32(flags(a)))),
		strings.Compare(a.Name, b.Name),
	)
}

// SecondNameGrace is how long names of one file are left alone: a program that renames it by
// link and unlink, as mutt does, may be about to remove any of them. A server waits as long.
const SecondNameGrace = 30 * time.Second

// Settled reports whether, at this moment, a repair may take f away or give it another name and
// let keep have theirs: both are still the files that were found, not written to since, and if
// they are one file, no program may be about to remove keep.
func Settled(folder *dirfd.Dir, f, keep File, now time.Time) (bool, error) {
	for _, found := range []File{f, keep} {
		st, same, err := found.Unchanged(folder)
		if err != nil || !same || f.ID() == keep.ID() && now.Sub(st.Ctime) < SecondNameGrace {
			return false, err
		}
	}
	return true, nil
}

// Unchanged reports whether a file that was found still has its name, and was not written to
// since; if so, st is what it is now.
func (f File) Unchanged(folder *dirfd.Dir) (st dirfd.Stat, same bool, err error) {
	st, err = lstat(folder, f)
	if errors.Is(err, fs.ErrNotExist) {
		return st, false, nil
	}
	return st, err == nil && st.ID() == f.ID() && st.Size == f.Size && st.Mtime.Equal(f.Mtime), err
}

// longestText limits how many bytes of a compressed file's text are read.
const longestText = 256 << 20

// Same reports whether two files have the same content, or the same text if either is
// compressed.
func Same(folder *dirfd.Dir, a, b File) (bool, error) {
	if a.ID() == b.ID() {
		return true, nil
	}
	x, err := open(folder, a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := open(folder, b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	if a.Size == b.Size {
		if same, err := sameBytes(x, y); same || err != nil {
			return same, err
		}
	}
	p, err := textOf(x, a.Size)
	if err != nil {
		return false, err
	}
	defer p.Close()
	q, err := textOf(y, b.Size)
	if err != nil {
		return false, err
	}
	defer q.Close()
	if p.Size != q.Size || p.ReaderAt == x && q.ReaderAt == y {
		return false, nil
	}
	return sameBytes(io.NewSectionReader(p, 0, p.Size), io.NewSectionReader(q, 0, q.Size))
}

// open opens a file of a group.
func open(folder *dirfd.Dir, f File) (*dirfd.File, error) {
	d, err := folder.OpenDir(f.Part)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Open(f.Name)
}

// textOf returns the text of a file, or the file itself if it is not compressed or its text
// cannot be read.
func textOf(file *dirfd.File, size int64) (*compress.Plain, error) {
	p, err := compress.Open(file, size, longestText, nil)
	switch {
	case errors.Is(err, compress.ErrDamaged), errors.Is(err, compress.ErrTooBig), p == nil && err == nil:
		return &compress.Plain{ReaderAt: file, Size: size}, nil
	}
	return p, err
}

func sameBytes(x, y io.Reader) (bool, error) {
	const chunk = 64 << 10
	p, q := make([]byte, chunk), make([]byte, chunk)
	for {
		n, errX := io.ReadFull(x, p)
		m, errY := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
		switch {
		case ended(errX) && ended(errY):
			return true, nil
		case ended(errX) != ended(errY):
			return false, nil
		case errX != nil:
			return false, errX
		case errY != nil:
			return false, errY
		}
	}
}

// Whole reports whether the size in the name of a file, if there is one, is that of its
// text.
func Whole(folder *dirfd.Dir, f File) (bool, error) {
	size, _ := filename.Sizes(filename.Base(f.Name))
	if size < 0 || size == f.Size {
		return true, nil
	}
	file, err := open(folder, f)
	if err != nil {
		return false, err
	}
	defer file.Close()
	p, err := textOf(file, f.Size)
	if err != nil {
		return false, err
	}
	return p.Size == size, p.Close()
}
