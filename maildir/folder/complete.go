package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"maildird/maildir/dirfd"
)

// complete creates the directories that the open mailbox at a place lacks.
func (t *Tree) complete(at levels, d *dirfd.Dir) error {
	missing, err := t.waitForCreator(d)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	if len(at) > 0 && slices.Contains(missing, "cur") {
		// It may be what makes the directory a mailbox: then somebody has just deleted the
		// mailbox.
		ok, err := t.layout.selectable(d)
		if err == nil && !ok {
			err = fmt.Errorf("%w: it was deleted just now", ErrNotFound)
		}
		if err != nil {
			return err
		}
	}
	rights, err := d.Rights()
	if err != nil {
		return err
	}
	return t.makeDirs(d, missing, rights)
}

// makeDirs creates directories, which may exist already, durable on return. After an error
// it removes those that it created, unless they contain mail: others would assume that they
// are durable.
func (t *Tree) makeDirs(d *dirfd.Dir, names []string, rights dirfd.Rights) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, name := range slices.Backward(made) {
				_ = d.RemoveDir(name)
			}
		}
	}()
	for _, name := range names {
		err := makeDir(d, name, rights)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: it was removed just now: %w", ErrNotFound, err)
		}
		if err == nil {
			made = append(made, name)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if t.opt.Fsync {
		return d.Sync()
	}
	return nil
}

// waitForCreator waits while another program may be creating the contents of a new folder, and
// returns what is missing after that: Dovecot, mutt and maildirmake create cur, new and tmp
// one after another, and report that the folder already exists if somebody else is faster.
func (t *Tree) waitForCreator(d *dirfd.Dir) (missing []string, err error) {
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

// missingDirs returns which directories of an open mailbox do not exist.
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
