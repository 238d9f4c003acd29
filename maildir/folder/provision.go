package folder

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"maildird/maildir/dirfd"
)

// Provision makes a Maildir in an empty directory: the standard folders, with
// their special-use attributes, subscribed together with INBOX, and INBOX
// itself. It does nothing in a Maildir that exists. INBOX comes last, so a
// Provision that was interrupted is completed by the next one. The end of ctx ends
// the wait for others who change the tree.
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

// maildirExists tells whether INBOX exists. "new" alone does: a delivery by
// another program may have made no more than that.
func maildirExists(root *dirfd.Dir) (bool, error) {
	for _, sub := range []string{"cur", "new"} {
		_, err := root.Lstat(sub)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}
