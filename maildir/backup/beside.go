package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"maildird/maildir/dirfd"
	"maildird/maildir/walk"
)

// beside lists the files of a folder, outside new, cur and tmp, that belong in a copy
// because they cannot be recreated. others are the names of what is neither a file nor a
// directory.
func beside(d *dirfd.Dir) (files map[string]dirfd.Stat, others []string, err error) {
	var names []string
	err = d.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		if kind != dirfd.KindDir && !walk.Disposable(string(raw)) {
			names = append(names, string(raw))
		}
		return true
	})
	if err != nil {
		return nil, nil, err
	}
	files = make(map[string]dirfd.Stat, len(names))
	for _, name := range names {
		st, err := d.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, nil, err
		case st.Regular():
			files[name] = st
		case !st.Mode.IsDir():
			others = append(others, name)
		}
	}
	return files, others, nil
}

// beside opens the files beside the messages that differ from the copy, to be copied after
// the lock is released. The size of each is recorded here: what a program appends later is
// in the file but not in the copy. If there are many and no lock is held, some are copied here.
func (s *snapshot) beside(ctx context.Context, o *opened, h *hold) error {
	o.f.again = false
	now, others, err := beside(o.src)
	if err != nil {
		return err
	}
	for _, name := range others {
		s.note(fmt.Sprintf("%s: %q is not a regular file and is left out", walk.Title(o.f.path), name))
	}
	for name := range o.f.files {
		if _, ok := now[name]; ok {
			continue
		}
		if err := o.dst.RemoveAll(name); err != nil {
			return err
		}
		delete(o.f.files, name)
	}
	for name, st := range now {
		if v, ok := o.f.files[name]; ok && v == versionOf(st) {
			continue
		}
		if _, err := s.later(o, besides, o.src, name); err != nil {
			return err
		}
		if h.locked() {
			continue
		}
		if err := s.drainIfMany(ctx); err != nil {
			return err
		}
	}
	return nil
}
