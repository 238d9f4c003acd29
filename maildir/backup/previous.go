package backup

import (
	"iter"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/walk"
)

// earlierIndex finds one folder's messages in the previous snapshot by their base, since
// flags change while the file stays the same.
type earlierIndex struct {
	path  string
	names [2]map[string]string // of new and cur
}

func (s *snapshot) earlierNames(f *folder, base string) iter.Seq2[string, string] {
	if s.index == nil || s.index.path != f.path {
		s.index = &earlierIndex{path: f.path}
		for i := range s.index.names {
			s.index.names[i] = map[string]string{}
			d, err := walk.Open(s.earlier, walk.Join(f.path, walk.MailDirs[i]))
			if err != nil {
				continue // a new folder
			}
			_ = d.List(func(raw []byte, _ dirfd.Kind, _ uint64) bool {
				name := string(raw)
				s.index.names[i][filename.Base(name)] = name
				return true
			})
			_ = d.Close()
		}
	}
	return func(yield func(string, string) bool) {
		for i, names := range s.index.names {
			if name, ok := names[base]; ok && !yield(walk.MailDirs[i], name) {
				return
			}
		}
	}
}
