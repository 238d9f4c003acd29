package delivery

import (
	"errors"
	"io/fs"
	"time"

	"maildird/maildir/dirfd"
)

// tempAge is how long a file may lie in tmp/ since its last change before it
// counts as left over: 36 hours, as the Maildir specification and Dovecot have it.
const tempAge = 36 * time.Hour

// cleanBatch bounds how many names are held in memory.
const cleanBatch = 1000

// CleanTemp removes what crashed programs left in a folder's tmp/: files whose
// status change (ctime) is more than 36 hours before now. Names that begin with
// a dot and directories stay.
func CleanTemp(tmp *dirfd.Dir, now time.Time) (removed int, err error) {
	var names []string
	if err := tmp.List(func(name []byte, kind dirfd.Kind, _ uint64) bool {
		if kind != dirfd.KindDir && name[0] != '.' {
			names = append(names, string(name))
		}
		return len(names) < cleanBatch
	}); err != nil {
		return 0, err
	}
	for _, name := range names {
		st, err := tmp.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if st.Mode.IsDir() || now.Sub(st.Ctime) <= tempAge {
			continue
		}
		if err := tmp.Remove(name); err == nil {
			removed++
		} else if !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
	}
	return removed, nil
}
