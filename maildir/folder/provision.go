package folder

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"maildird/maildir/dirfd"
)

// Provision creates a Maildir in an empty directory: the default folders, with their
// special-use attributes and subscribed together with INBOX, and INBOX itself. It does
// nothing in a Maildir that exists. INBOX is created last, so that the next Provision
// completes one that was interrupted. If ctx ends while waiting for others who change the
// tree, its error is returned.
func Provision(ctx context.Context, root *dirfd.Dir, opt Options, defaults []Default) error {
	if exists, err := maildirExists(root); exists || err != nil {
		return err
	}
	t, err := NewTree(root, opt)
	if err != nil {
		return err
	}
	return t.withLock(ctx, func() error {
		if exists, err := maildirExists(root); exists || err != nil {
			return err
		}
		return t.provision(ctx, defaults)
	})
}

func (t *Tree) provision(ctx context.Context, defaults []Default) error {
	names := []string{"INBOX"}
	var uses []string
	for _, def := range defaults {
		name := t.join(strings.Split(def.Name, "/"))
		at, err := t.newPlace(name)
		if err != nil {
			return err
		}
		if err := t.layout.create(t.root, at); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
		names = append(names, name)
		if def.SpecialUse == "" {
			continue
		}
		known, err := checkUses([]string{def.SpecialUse})
		if err != nil {
			return err
		}
		uses = append(uses, known[0]+" "+at.key())
	}
	if err := t.setSubscribed(ctx, names, true); err != nil {
		return err
	}
	if len(uses) > 0 {
		if err := t.editUses(ctx, func(string) string { return "" }, uses); err != nil {
			return err
		}
	}
	return t.makeInbox()
}

// makeInbox makes the root a Maildir.
func (t *Tree) makeInbox() error {
	rights, err := t.root.Rights()
	if err != nil {
		return err
	}
	return t.makeDirs(t.root, []string{"tmp", "new", "cur"}, rights)
}

// maildirExists reports whether INBOX exists. "new" is enough: a delivery by another
// program may have created no more than that.
func maildirExists(root *dirfd.Dir) (bool, error) {
	for _, sub := range []string{"cur", "new"} {
		_, err := root.Lstat(sub)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}
