package delivery

import (
	"errors"
	"io/fs"
	"time"

	"maildird/maildir/dirfd"
)

// tempAge is how long a file in tmp/ may be unchanged before it counts as left over: 36
// hours, as in the Maildir specification and Dovecot.
const tempAge = 36 * time.Hour

// cleanBatch limits how many names are held in memory.
const cleanBatch = 1000

// CleanTemp removes what crashed programs left in a folder's tmp/: files whose last status
// change (ctime) is more than 36 hours before now. It keeps directories and names that
// start with a dot.
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
