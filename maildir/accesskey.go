package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"maildird/maildir/accesskey"
	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
)

// AccessKey returns the mailbox access key (RFC 4467) of a mailbox, nil if it has none. It
// returns folder.ErrNotFound if there is no such mailbox.
func (a *Account) AccessKey(name string) (key []byte, err error) {
	err = a.inFolder(name, func(dir *dirfd.Dir) error {
		key, err = accesskey.Read(dir)
		return err
	})
	return key, err
}

// MakeAccessKey is AccessKey, but creates the key, durable on return, if there is none.
func (a *Account) MakeAccessKey(name string) (key []byte, err error) {
	err = a.inFolder(name, func(dir *dirfd.Dir) error {
		// One at a time, so that no other session gets a key that is not on disk.
		a.keys.Lock()
		defer a.keys.Unlock()
		key, err = accesskey.Make(dir, a.store.env.Fsync)
		return err
	})
	return key, err
}

// NewAccessKey replaces a mailbox's key, durable on return, and tells the views.
func (a *Account) NewAccessKey(ctx context.Context, name string) error {
	box, err := a.Open(ctx, name)
	if err != nil {
		return err
	}
	defer box.Release()
	err = a.inFolder(name, func(dir *dirfd.Dir) error {
		a.keys.Lock()
		defer a.keys.Unlock()
		if err := accesskey.Remove(dir, false); err != nil {
			return err
		}
		_, err := accesskey.Make(dir, a.store.env.Fsync)
		return err
	})
	if err == nil {
		box.TellAccessKey()
	}
	return err
}

// RemoveAccessKeys removes the keys of all mailboxes, durable on return. An error for one
// does not prevent the removal of the others.
func (a *Account) RemoveAccessKeys() error {
	entries, err := a.tree.List()
	if err != nil {
		return err
	}
	var failed []error
	for i := range entries {
		if entries[i].NoSelect {
			continue
		}
		err := a.inFolder(entries[i].Name, func(dir *dirfd.Dir) error {
			a.keys.Lock()
			defer a.keys.Unlock()
			return accesskey.Remove(dir, a.store.env.Fsync)
		})
		if err != nil && !errors.Is(err, folder.ErrNotFound) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// inFolder calls f with the folder of a mailbox.
func (a *Account) inFolder(name string, f func(*dirfd.Dir) error) error {
	name, err := a.tree.Canonical(name)
	if err != nil {
		return err
	}
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = f(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it was removed just now: %w", folder.ErrNotFound, err)
	}
	return err
}
