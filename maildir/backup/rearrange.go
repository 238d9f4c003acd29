package backup

import (
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/walk"
)

// derived is a name that a message had at the moment of the snapshot and lost
// before the file could be taken under it: renamed once more, or moved on. The
// message itself is in the copy under another name, most likely.
type derived struct {
	f    *folder
	part int
	name string
}

// drop takes a name out of the copy, when no lock is held.
func (s *snapshot) drop(f *folder, i int, name string) {
	if s.dropped == nil {
		s.dropped = map[derived]bool{}
	}
	s.dropped[derived{f, i, name}] = true
}

// rearrange gives messages of the copy the names that they had, and removes
// those that they had not. It tells whether all was found.
func (s *snapshot) rearrange() (complete bool, err error) {
	complete = true
	if len(s.derived) > 0 {
		index := s.byBase()
		for _, want := range s.derived {
			found, err := s.derive(want, index[filename.Base(want.name)])
			if err != nil {
				return false, err
			}
			if !found {
				// It is listed again: it may have come back, or be expunged.
				want.f.dirs[want.part].listed = false
				complete = false
			}
		}
	}
	s.derived = s.derived[:0]
	for d := range s.dropped {
		if _, ok := d.f.dirs[d.part].have[d.name]; !ok {
			continue
		}
		delete(d.f.dirs[d.part].have, d.name)
		to, err := s.openCopy(d)
		if err != nil {
			return false, err
		}
		err = to.Remove(d.name)
		_ = to.Close()
		if err != nil {
			return false, err
		}
	}
	clear(s.dropped)
	return complete, nil
}

// byBase finds those messages of the copy whose bases are wanted.
func (s *snapshot) byBase() map[string][]derived {
	found := make(map[string][]derived, len(s.derived))
	for _, d := range s.derived {
		found[filename.Base(d.name)] = nil
	}
	for _, f := range s.folders {
		for i := range f.dirs {
			for name := range f.dirs[i].have {
				base := filename.Base(name)
				if at, ok := found[base]; ok {
					found[base] = append(at, derived{f, i, name})
				}
			}
		}
	}
	return found
}

// derive makes a name for a message that the copy has, in the same folder if
// it can be chosen.
func (s *snapshot) derive(want derived, known []derived) (bool, error) {
	if len(known) == 0 {
		return false, nil
	}
	from := known[0]
	for _, k := range known {
		if k.f == want.f {
			from = k
		}
	}
	src, err := s.openCopy(from)
	if err != nil {
		return false, err
	}
	defer src.Close()
	dst, err := s.openCopy(want)
	if err != nil {
		return false, err
	}
	defer dst.Close()
	if err := src.Link(from.name, dst, want.name); err != nil {
		return false, err
	}
	s.have(want.f, want.part, want.name)
	return true, nil
}

// openCopy opens the directory of the copy in which a name is.
func (s *snapshot) openCopy(d derived) (*dirfd.Dir, error) {
	return walk.Open(s.target, walk.Join(d.f.path, walk.MailDirs[d.part]))
}
