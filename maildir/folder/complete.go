package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"maildird/maildir/dirfd"
)

// complete makes the directories that an open mailbox needs.
func (t *Tree) complete(d *dirfd.Dir) error {
	missing, err := t.letMake(d)
	if err != nil {
		return err
	}
	for _, sub := range missing {
		rights, err := d.Rights()
		if err != nil {
			return err
		}
		err = makeDir(d, sub, rights)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: it was removed just now: %w", ErrNotFound, err)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if len(missing) > 0 && t.opt.Fsync {
		return d.Sync()
	}
	return nil
}

// letMake waits while another program may be about to make what is in a new
// folder, and returns what is missing then: Dovecot, mutt and maildirmake make
// cur, new and tmp one after another, and say that the folder exists already
// if somebody is faster.
func (t *Tree) letMake(d *dirfd.Dir) (missing []string, err error) {
	for waited := time.Duration(0); ; waited += t.pause {
		missing, err = missingDirs(d)
		if err != nil || len(missing) == 0 || waited >= t.young {
			return missing, err
		}
		st, err := d.Stat()
		if err != nil {
			return nil, err
		}
		if age := t.now().Sub(st.Mtime); age < 0 || age >= t.young {
			return missing, nil
		}
		t.sleep(t.pause)
	}
}

// missingDirs tells which directories of an open mailbox are not there.
func missingDirs(d *dirfd.Dir) (missing []string, err error) {
	for _, sub := range []string{"cur", "new", "tmp"} {
		st, err := d.Lstat(sub)
		switch {
		case err == nil && st.Mode.IsDir():
		case err == nil:
			return nil, fmt.Errorf("%w: %s/%s is no directory; move it away", ErrNotFound, d.Path(), sub)
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, sub)
		default:
			return nil, err
		}
	}
	return missing, nil
}
