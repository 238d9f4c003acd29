package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/walk"
)

// pending is a file that was opened while it had its name, and is copied when no lock is
// held.
type pending struct {
	f    *folder
	part int // 0 new, 1 cur, besides: neither
	name string
	file *dirfd.File
	st   dirfd.Stat
}

const (
	besides   = 2
	mostOpen  = 128 // files held open for copying
	fewerOpen = 32
)

// message adds one message to the copy, and reports whether the file is there. If it has
// another name by now, it is found again under that name.
func (s *snapshot) message(o *opened, i int, name string, kind dirfd.Kind) (bool, error) {
	if kind == dirfd.KindOther || kind == dirfd.KindDir {
		s.noFile(o.f, i, name)
		return true, nil
	}
	if !s.notLink {
		own, err := ownFile(o.from[i], name)
		if err == nil && !own {
			return s.later(o, i, o.from[i], name)
		}
		if err == nil {
			err = o.from[i].Link(name, o.to[i], name)
		}
		switch {
		case err == nil:
			return true, s.linked(o, i, name)
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EOPNOTSUPP):
			s.notLink = true
		case errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM):
		default:
			return false, err
		}
	}
	return s.later(o, i, o.from[i], name)
}

// ownFile reports whether a file belongs to the owner of its directory. Another user's file,
// such as one that root delivered, is not linked: dirfd would refuse it from then on, since
// its owner may not be the one who made the link.
func ownFile(d *dirfd.Dir, name string) (bool, error) {
	st, err := d.Lstat(name)
	if err != nil {
		return false, err
	}
	return d.Owns(st.UID)
}

func (s *snapshot) noFile(f *folder, i int, name string) {
	s.note(fmt.Sprintf("%s: %s/%q is not a regular file and is left out", walk.Title(f.path), walk.MailDirs[i], name))
}

// linked checks what was linked: a hostile owner may have put something else in its place
// after the listing.
func (s *snapshot) linked(o *opened, i int, name string) error {
	st, err := o.to[i].Lstat(name)
	if err != nil {
		return err
	}
	if !st.Regular() {
		s.noFile(o.f, i, name)
		return o.to[i].Remove(name)
	}
	switch own, err := o.from[i].Owns(st.UID); {
	case err != nil:
		return err
	case !own:
		s.note(fmt.Sprintf("%s: %s/%q was replaced by another user's file and is left out", walk.Title(o.f.path), walk.MailDirs[i], name))
		return o.to[i].Remove(name)
	}
	s.Linked++
	s.have(o.f, i, name)
	return nil
}

func (s *snapshot) have(f *folder, i int, name string) {
	if f.dirs[i].have == nil {
		f.dirs[i].have = map[string]struct{}{}
	}
	f.dirs[i].have[name] = struct{}{}
	f.fresh = append(f.fresh, name)
	if n := s.Linked + s.Shared + s.Copied + s.Earlier; s.opt.Progress != nil && n%256 == 0 {
		s.opt.Progress(n, max(n, s.total))
	}
}

// later opens a file to copy it when no lock is held: it stays the same file, whatever
// happens to its name. It reports whether there is such a file.
func (s *snapshot) later(o *opened, part int, in *dirfd.Dir, name string) (bool, error) {
	if len(s.pending) >= mostOpen {
		if part == besides { // in the next pass
			o.f.again = true
		} else {
			o.f.dirs[part].again, o.f.dirs[part].listed = true, false
		}
		return true, nil
	}
	file, err := in.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if errors.Is(err, dirfd.ErrNotRegular) || errors.Is(err, fs.ErrPermission) {
		s.note(fmt.Sprintf("%s: %q is left out: %v", walk.Title(o.f.path), name, err))
		st, err := in.Lstat(name)
		if err != nil {
			return true, ignoreGone(err)
		}
		s.Unread = s.Unread || st.Regular()
		if part == besides {
			o.f.seen(name, st) // otherwise, every pass would miss it in the copy
		}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	st, err := dirfd.FileStat(file)
	if err != nil {
		_ = file.Close()
		return false, err
	}
	s.pending = append(s.pending, pending{f: o.f, part: part, name: name, file: file, st: st})
	if part != besides {
		s.have(o.f, part, name)
		return true, nil
	}
	o.f.seen(name, st)
	return true, nil
}

// seen records the state of a file beside the messages that the copy is up to date with.
func (f *folder) seen(name string, st dirfd.Stat) {
	if f.files == nil {
		f.files = map[string]version{}
	}
	f.files[name] = versionOf(st)
}

func (s *snapshot) drainIfMany(ctx context.Context) error {
	if len(s.pending) < fewerOpen {
		return nil
	}
	return s.drain(ctx)
}

// drain copies what is pending. No lock is held.
func (s *snapshot) drain(ctx context.Context) error {
	defer s.dropPending()
	for _, p := range s.pending {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := s.copyPending(p); err != nil {
			return fmt.Errorf("copy %s of %s: %w", p.name, walk.Title(p.f.path), err)
		}
	}
	return nil
}

func (s *snapshot) dropPending() {
	for _, p := range s.pending {
		_ = p.file.Close()
	}
	s.pending = s.pending[:0]
}

// copyPending copies one file, or links it from the previous snapshot. A file that is being
// written is left to the next pass.
func (s *snapshot) copyPending(p pending) error {
	path := p.f.path
	if p.part != besides {
		path = walk.Join(path, walk.MailDirs[p.part])
		p.f.dirs[p.part].copies = true
		if _, ok := p.f.dirs[p.part].have[p.name]; !ok {
			return nil // it has left the folder meanwhile
		}
	}
	to, err := walk.Open(s.target, path)
	if err != nil {
		return err
	}
	defer to.Close()
	if p.part == besides {
		if err := to.RemoveAll(p.name); err != nil {
			return err
		}
	} else if done, err := s.fromEarlier(p, path, to); done || err != nil {
		return err
	}
	shared, err := copyFile(to, p)
	if err != nil {
		return err
	}
	if p.part == besides {
		return nil
	}
	if shared {
		s.Shared++
	} else {
		s.Copied++
	}
	now, err := dirfd.FileStat(p.file)
	if err == nil && (now.Size != p.st.Size || !now.Mtime.Equal(p.st.Mtime)) {
		// Somebody is writing it in place, as cp does: copy it again in the next pass.
		delete(p.f.dirs[p.part].have, p.name)
		p.f.dirs[p.part].again, p.f.dirs[p.part].listed = true, false
		err = to.Remove(p.name)
	}
	return err
}

// copyFile copies the content of the file as it was when it was opened, its rights and its
// time. shared reports whether the copy takes no disk space of its own.
func copyFile(to *dirfd.Dir, p pending) (shared bool, err error) {
	f, err := to.Create(p.name, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if shared, err = dirfd.CopyContent(f, p.file); err != nil {
		return false, err
	}
	if now, err := f.Stat(); err != nil {
		return false, err
	} else if p.part == besides && now.Size() > p.st.Size {
		// Data appended since it was opened belongs to a later moment.
		if err := f.Truncate(p.st.Size); err != nil {
			return false, err
		}
	}
	if err := dirfd.TakeFileRights(f, p.st); err != nil {
		return false, err
	}
	return shared, to.Chtimes(p.name, p.st.Mtime)
}

// fromEarlier makes a hard link to the same message in the previous snapshot, if that has
// it.
func (s *snapshot) fromEarlier(p pending, path string, to *dirfd.Dir) (bool, error) {
	if s.earlier == nil {
		return false, nil
	}
	// Under the same name, or under the name with the flags that it had then.
	from, name, ok := s.findEarlier(p, path)
	if !ok {
		return false, nil
	}
	defer from.Close()
	err := from.Link(name, to, p.name)
	if errors.Is(err, unix.EMLINK) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		s.Earlier++
	}
	return err == nil, err
}

// findEarlier searches the previous snapshot for the unchanged file.
func (s *snapshot) findEarlier(p pending, path string) (*dirfd.Dir, string, bool) {
	same := func(d *dirfd.Dir, name string) bool {
		st, err := d.Lstat(name)
		return err == nil && st.Regular() && st.Size == p.st.Size && st.Mtime.Equal(p.st.Mtime) &&
			st.Mode.Perm() == p.st.Mode.Perm() && st.UID == p.st.UID && st.GID == p.st.GID
	}
	if d, err := walk.Open(s.earlier, path); err == nil {
		if same(d, p.name) {
			return d, p.name, true
		}
		_ = d.Close()
	}
	for sub, name := range s.earlierNames(p.f, filename.Base(p.name)) {
		d, err := walk.Open(s.earlier, walk.Join(p.f.path, sub))
		if err != nil {
			continue
		}
		if same(d, name) {
			return d, name, true
		}
		_ = d.Close()
	}
	return nil, "", false
}
