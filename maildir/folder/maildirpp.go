package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/quarantine"
	"maildird/maildir/walk"
)

// trashName is the directory to which Dovecot moves a folder that is being deleted. It is
// never listed; Dovecot removes what it finds there after an hour.
const trashName = "..DOVECOT-TRASHED"

// fileNameMax is the length in octets of the longest file name.
const fileNameMax = 255

// maxFolders limits how many folders are listed, whoever created them.
const maxFolders = 1 << 17

// ppLayout is Maildir++: mailbox A/B is the directory ".A.B" of the root. Levels need no
// directory of their own. An empty file "maildirfolder" tells other programs that the
// directory is not the root of a Maildir.
type ppLayout struct{ sync syncDir }

// syncDir makes the names in a directory durable, if so configured.
type syncDir func(*dirfd.Dir) error

func (ppLayout) separator() byte { return '.' }

func (ppLayout) dirName(at levels) string { return "." + strings.Join(at, ".") }

func (l ppLayout) refuse(at levels) string {
	name := l.dirName(at)
	if len(name) > fileNameMax {
		return fmt.Sprintf("takes %d octets on disk, where %d is the limit", len(name), fileNameMax)
	}
	if foreign(name) {
		return "belongs to another program"
	}
	return ""
}

// foreign reports whether this is the name of a directory that other programs keep in a
// Maildir root for their own purposes: it is not a folder unless it contains mail.
func foreign(name string) bool { return name == ".notmuch" || name == quarantine.Name }

func (l ppLayout) open(root *dirfd.Dir, at levels) (*dirfd.Dir, error) {
	name := l.dirName(at)
	d, err := root.OpenDir(name)
	if err != nil {
		if isMissing(err) {
			err = fs.ErrNotExist
		}
		return nil, err
	}
	if foreign(name) && !walk.HoldsMail(d) {
		_ = d.Close()
		return nil, fs.ErrNotExist
	}
	return d, nil
}

func (ppLayout) selectable(*dirfd.Dir) (bool, error) { return true, nil }

func (l ppLayout) scan(root *dirfd.Dir, f func(at levels, selectable bool) error) error {
	names, err := l.names(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f(strings.Split(name[1:], "."), true); err != nil {
			return err
		}
	}
	return nil
}

// names lists the folders' directories. It repeats the listing if others changed the root
// meanwhile, so as not to miss a folder that was renamed.
func (l ppLayout) names(root *dirfd.Dir) ([]string, error) {
	var names, unknown []string
	for range 3 {
		before, err := root.Stat()
		if err != nil {
			return nil, err
		}
		names, unknown = names[:0], unknown[:0]
		err = root.List(func(name []byte, kind dirfd.Kind, _ uint64) bool {
			if len(name) < 2 || name[0] != '.' || string(name) == trashName {
				return true
			}
			switch {
			case foreign(string(name)), kind == dirfd.KindUnknown:
				unknown = append(unknown, string(name))
			case kind == dirfd.KindDir:
				names = append(names, string(name))
			}
			return len(names)+len(unknown) <= maxFolders
		})
		if err != nil {
			return nil, err
		}
		if len(names)+len(unknown) > maxFolders {
			return nil, tooMany(root)
		}
		if after, err := root.Stat(); err != nil || after.Mtime.Equal(before.Mtime) {
			break
		}
	}
	for _, name := range unknown {
		d, err := l.open(root, strings.Split(name[1:], "."))
		if err == nil {
			names = append(names, name)
			_ = d.Close()
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func tooMany(root *dirfd.Dir) error {
	return fmt.Errorf("%s holds more than %d folders: remove what does not belong there", root.Path(), maxFolders)
}

func (l ppLayout) create(root *dirfd.Dir, at levels) error {
	return retryIfRemoved(func() error { return l.createOnce(root, at) })
}

func (l ppLayout) createOnce(root *dirfd.Dir, at levels) error {
	name := l.dirName(at)
	rights, err := l.rights(root, at)
	if err != nil {
		return err
	}
	d, err := root.MkdirAs(name, rights)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: something in %s has the name %q", ErrExists, root.Path(), name)
		}
		return err
	}
	defer d.Close()
	err = l.fill(d, rights)
	if err == nil {
		err = l.sync(root)
	}
	if err != nil {
		unfill(d)
		if undoErr := root.RemoveDir(name); !errors.Is(undoErr, fs.ErrNotExist) {
			err = errors.Join(err, undoErr)
		}
	}
	return err
}

// fill creates the contents of a new folder.
func (l ppLayout) fill(d *dirfd.Dir, rights dirfd.Rights) error {
	for _, sub := range []string{"new", "tmp", "cur"} {
		if err := makeDir(d, sub, rights); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	mark, err := d.CreateAs("maildirfolder", rights)
	switch {
	case err == nil:
		err = mark.Close()
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return err
	}
	return l.sync(d)
}

// unfill removes what was created in a new folder. If mail has arrived meanwhile, the
// folder is kept.
func unfill(d *dirfd.Dir) {
	for _, sub := range []string{"cur", "tmp", "new"} {
		_ = d.RemoveDir(sub)
	}
	_ = d.Remove("maildirfolder")
}

// rights returns the rights of the nearest folder above, or else those of the root.
func (l ppLayout) rights(root *dirfd.Dir, at levels) (dirfd.Rights, error) {
	for n := len(at) - 1; n > 0; n-- {
		d, err := root.OpenDir(l.dirName(at[:n]))
		if err == nil {
			defer d.Close()
			return d.Rights()
		}
	}
	return root.Rights()
}

func (l ppLayout) remove(root *dirfd.Dir, at levels) (func() error, error) {
	d, err := l.open(root, at)
	if err == nil {
		_ = d.Close()
		return trash(root, l.dirName(at), root, l.sync)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	below, err := l.below(root, at)
	if err != nil {
		return nil, err
	}
	if len(below) > 0 {
		return nil, fmt.Errorf("%w and is itself only a level above them", ErrHasChildren)
	}
	return nil, ErrNotFound
}

// below lists the directories of the mailboxes below a place.
func (l ppLayout) below(root *dirfd.Dir, at levels) ([]string, error) {
	names, err := l.names(root)
	if err != nil {
		return nil, err
	}
	above := l.dirName(at) + "."
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, above) }), nil
}

func (l ppLayout) rename(root *dirfd.Dir, from, to levels) error {
	oldName, newName := l.dirName(from), l.dirName(to)
	moves, err := l.below(root, from)
	if err != nil {
		return err
	}
	d, err := l.open(root, from)
	switch {
	case err == nil:
		_ = d.Close()
		moves = slices.Insert(moves, 0, oldName)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case len(moves) == 0:
		return ErrNotFound
	}
	// Check all targets before anything is moved: half a tree under a new name is worse
	// than none. The new name itself must be free in any case.
	targets := []string{newName}
	for _, name := range moves {
		targets = append(targets, newName+name[len(oldName):])
	}
	for _, target := range targets {
		if len(target) > fileNameMax {
			return badName(target, fmt.Sprintf("would take %d octets on disk, where %d is the limit", len(target), fileNameMax))
		}
		if _, err := root.Lstat(target); err == nil {
			return fmt.Errorf("%w: %s has %q", ErrExists, root.Path(), target)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	back := func(moved []string, err error) error {
		for _, name := range slices.Backward(moved) {
			if backErr := renameDir(root, newName+name[len(oldName):], root, name); !errors.Is(backErr, fs.ErrNotExist) {
				err = errors.Join(err, backErr)
			}
		}
		return err
	}
	var moved []string
	for _, name := range moves {
		switch err := renameDir(root, name, root, newName+name[len(oldName):]); {
		case err == nil:
			moved = append(moved, name)
		case !errors.Is(err, fs.ErrNotExist): // another program may have removed it
			return back(moved, err)
		}
	}
	if len(moved) == 0 {
		return ErrNotFound
	}
	if err := l.sync(root); err != nil {
		return back(moved, err)
	}
	return nil
}
