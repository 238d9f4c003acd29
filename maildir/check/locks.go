package check

import (
	"fmt"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/uidlist"
)

// lockAge is the age from which a lock file counts as left behind. Programs that hold a
// lock for long touch it every few seconds.
const lockAge = time.Hour

// leftLocks finds lock files whose holders are long gone.
func (c *checker) leftLocks(a *at) error {
	var names []string
	err := a.dir.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		if name := string(raw); strings.HasSuffix(name, ".lock") && kind != dirfd.KindDir {
			names = append(names, name)
		}
		return len(names) < most
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := a.dir.Lstat(name)
		if err != nil || c.opt.Now().Sub(st.Mtime) < lockAge {
			continue
		}
		cause := fmt.Sprintf("a program that ended or hangs left this lock %s ago; others wait for it", age(c.opt.Now().Sub(st.Mtime)))
		if name != uidlist.Name+".lock" {
			a.add(label(name), cause, c.setBeside(a, name, func(name string) bool {
				now, err := a.dir.Lstat(name)
				return err == nil && now.ID() == st.ID() && now.Mtime.Equal(st.Mtime)
			}))
			continue
		}
		// Repairs are made under this lock, and take it over if possible.
		a.add(label(name), cause, func() (string, error) { return "took it over", nil })
	}
	return nil
}
