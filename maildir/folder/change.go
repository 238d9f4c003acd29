package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Create creates a mailbox (and, as NoSelect, missing levels above it if the layout has
// such levels), and gives it special-use attributes, whose case is ignored. It returns
// ErrExists, ErrName or ErrSpecialUse. As with all changes, if ctx ends while waiting for a
// lock, its error is returned.
func (t *Tree) Create(ctx context.Context, name string, specialUse []string) error {
	at, err := t.newPlace(name)
	if err != nil {
		return err
	}
	uses, err := checkUses(specialUse)
	if err != nil {
		return err
	}
	return t.withLock(ctx, func() error {
		// A directory that is shown under this name may be spelled differently on disk.
		if err := t.nameFree(name, at); err != nil {
			return err
		}
		if err := t.layout.create(t.root, at); err != nil {
			return err
		}
		if err := t.setUses(ctx, at, uses); err != nil {
			return t.undoCreate(at, err)
		}
		return nil
	})
}

// removedTries is how often an operation is repeated if another program keeps interfering.
const removedTries = 5

// retryIfRemoved repeats an operation if another program removed something that it was
// working on.
func retryIfRemoved(do func() error) error {
	for try := 1; ; try++ {
		if err := do(); !errors.Is(err, fs.ErrNotExist) || try == removedTries {
			return err
		}
	}
}

// nameFree returns ErrExists if a directory that is spelled differently is shown under a
// name.
func (t *Tree) nameFree(name string, at levels) error {
	other, d, err := t.locate(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if !slices.Equal(other, at) {
		return fmt.Errorf("%w: %q", ErrExists, name)
	}
	return nil
}

// undoCreate removes a mailbox that was created but could not be completed.
func (t *Tree) undoCreate(at levels, cause error) error {
	rest, err := t.layout.remove(t.root, at)
	if err == nil && rest != nil {
		err = rest()
	}
	return errors.Join(cause, err)
}

// Delete removes the mailbox's folder and all mail in it, but not its children. A level
// without a folder of its own is removed if it has no children. Delete returns ErrNotFound,
// ErrInbox, or ErrHasChildren (only for a level without a folder). After ErrLeftover the
// mailbox is deleted all the same.
func (t *Tree) Delete(ctx context.Context, name string) error {
	var rest func() error
	err := t.withLock(ctx, func() error {
		at, err := t.locateOther(name)
		if err != nil {
			return err
		}
		if err := t.outliveValidity(at); err != nil {
			return err
		}
		if rest, err = t.layout.remove(t.root, at); err != nil {
			return named(err, name)
		}
		if err := t.editUses(context.WithoutCancel(ctx), dropPlaces(map[string]bool{at.key(): true}), nil); err != nil {
			return fmt.Errorf("%w: %w", ErrLeftover, err)
		}
		return nil
	})
	if rest == nil {
		return err
	}
	// Without the lock, because a large folder takes long.
	if restErr := rest(); restErr != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrLeftover, restErr))
	}
	return err
}

// Rename renames the mailbox and its children. INBOX cannot be renamed (ErrInbox).
// Subscriptions are not changed (RFC 9051 section 6.3.6 leaves them to the client, and so
// does Dovecot). Rename returns ErrNotFound, ErrName, or ErrExists, also if the new name of
// a child is taken; then nothing is renamed.
func (t *Tree) Rename(ctx context.Context, from, to string) error {
	target, err := t.newPlace(to)
	if err != nil {
		return err
	}
	return t.withLock(ctx, func() error {
		source, err := t.locateOther(from)
		if err != nil {
			return err
		}
		if slices.Equal(source, target) {
			return fmt.Errorf("%w: %q", ErrExists, to)
		}
		if len(target) > len(source) && slices.Equal(target[:len(source)], source) {
			return badName(to, "is below the mailbox that would get this name")
		}
		// A mailbox that merely has an odd spelling on disk may be renamed to the name
		// under which it is shown.
		if shown := t.show(source); !slices.Equal(encode(shown), target) {
			if err := t.nameFree(to, target); err != nil {
				return err
			}
		}
		places, err := t.withBelow(source)
		if err == nil {
			err = t.outliveValidity(places...)
		}
		if err != nil {
			return err
		}
		return t.keepingUses(ctx, source, target, func() error {
			return named(t.layout.rename(t.root, source, target), from)
		})
	})
}

// locateOther finds the place of any mailbox or level except INBOX, including a level that
// is only implied.
func (t *Tree) locateOther(name string) (levels, error) {
	text, err := t.parse(name)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, ErrInbox
	}
	at, d, err := t.locate(name)
	if errors.Is(err, ErrNotFound) {
		return encode(text), nil // the layout knows whether it is implied
	}
	if err != nil {
		return nil, err
	}
	return at, d.Close()
}

// named adds the name that the client used to a layout's error.
func named(err error, name string) error {
	if err == ErrNotFound {
		return fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return err
}
