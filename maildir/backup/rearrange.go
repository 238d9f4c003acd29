package backup

import (
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/walk"
)

// derived is a name that a message had at the moment of the snapshot, but lost before the
// file could be copied under it, because it was renamed again or moved. Most likely, the
// message is in the copy under another name.
type derived struct {
	f    *folder
	part int
	name string
}

// drop removes a name from the copy, once no lock is held.
func (s *snapshot) drop(f *folder, i int, name string) {
	if s.dropped == nil {
		s.dropped = map[derived]bool{}
	}
	s.dropped[derived{f, i, name}] = true
}

// rearrange gives messages in the copy the names that they had, and removes names that they
// did not have. It reports whether all of them were found.
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
				// List it again: the message may have come back, or was expunged.
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

// byBase returns those messages of the copy whose bases are needed.
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

// derive creates a name for a message that the copy already has, preferably in the same
// folder.
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

// openCopy opens the directory of the copy that a name belongs to.
func (s *snapshot) openCopy(d derived) (*dirfd.Dir, error) {
	return walk.Open(s.target, walk.Join(d.f.path, walk.MailDirs[d.part]))
}
