package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"maildird/maildir/dirfd"
)

// Owner is a system user.
type Owner struct {
	UID, GID int
	Home     string // "" if there is none
}

// openOrMake opens the owner's Maildir, and creates it if it is missing. The owner may be
// hostile, and may have put symbolic links to other users' directories where root would
// read and write: what is opened must belong to the owner, and nothing is created behind a
// link of theirs.
func (o *Owner) openOrMake(path string) (*dirfd.Dir, error) {
	if err := o.served(path); err != nil {
		return nil, err
	}
	root, err := dirfd.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = o.make(path)
	}
	if err != nil {
		return nil, err
	}
	if err := o.Owns(root); err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// served returns an error if the owner is a user whose mail is not served.
func (o *Owner) served(path string) error {
	if o.UID <= 0 {
		return fmt.Errorf("%s: mail of the system user %d is not served", path, o.UID)
	}
	return nil
}

// Owns returns an error if an open Maildir does not belong to the owner, or if the owner is a
// user whose mail is not served.
func (o *Owner) Owns(d *dirfd.Dir) error {
	if err := o.served(d.Path()); err != nil {
		return err
	}
	st, err := d.Stat()
	if err != nil {
		return err
	}
	return o.isOwner(d.Path(), st.UID)
}

// isOwner returns an error if a directory of the user uid does not belong to the owner.
func (o *Owner) isOwner(path string, uid uint32) error {
	if int64(uid) != int64(o.UID) {
		return fmt.Errorf("%s belongs to the system user %d, not to %d as in the users file", path, uid, o.UID)
	}
	return nil
}

// make creates the Maildir and the missing directories above it: in the home directory they
// belong to the owner, elsewhere others may pass through them.
func (o *Owner) make(path string) (*dirfd.Dir, error) {
	above, missing := filepath.Dir(path), []string{filepath.Base(path)}
	if rest, ok := o.atHome(path); ok {
		above, missing = filepath.Clean(o.Home), strings.Split(rest, "/")
	} else if err := MakeDirs(above, 0o711); err != nil {
		return nil, err
	}
	d, err := dirfd.Open(above)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		sub, err := o.enter(d, name)
		_ = d.Close()
		if err != nil {
			return nil, err
		}
		d = sub
	}
	return d, nil
}

// atHome reports whether path is below the owner's home directory, and returns the rest of it.
func (o *Owner) atHome(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, filepath.Clean(o.Home)+"/")
	return rest, ok && filepath.IsAbs(o.Home)
}

// mayMake returns what prevents make from creating the Maildir.
func (o *Owner) mayMake(path string) error {
	if _, ok := o.atHome(path); ok {
		if _, err := os.Stat(o.Home); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the home directory %s does not exist", o.Home)
		}
	}
	return MayMakeDirs(path)
}

// enter opens a directory, and creates it, durably, if it is missing.
func (o *Owner) enter(d *dirfd.Dir, name string) (*dirfd.Dir, error) {
	sub, err := d.OpenDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return sub, err
	}
	sub, err = d.MkdirAs(name, dirfd.Rights{Mode: 0o700, UID: o.UID, GID: o.GID})
	if errors.Is(err, fs.ErrExist) {
		return d.OpenDir(name) // another process was faster
	}
	if err != nil {
		return nil, err
	}
	if err := d.Sync(); err != nil {
		_ = sub.Close()
		_ = d.RemoveDir(name) // otherwise, whoever finds it would assume that it is durable
		return nil, err
	}
	return sub, nil
}
