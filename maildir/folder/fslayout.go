package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// fsLayout stores mailbox A/B in the directory A/B of the root. A directory is a mailbox if
// it contains a directory "cur"; others are only levels.
type fsLayout struct{ sync syncDir }

func (fsLayout) separator() byte { return '/' }

// mailDirs are the parts of a mailbox; no level can have their names.
var mailDirs = []string{"cur", "new", "tmp"}

// treeFiles are files that mail programs keep beside the folders. A new folder with such a
// name would get in their way, and so would one whose name continues with a dot: programs
// lock and replace these files by means of others ("dovecot-uidlist.lock"), which they
// remove whatever they are.
var treeFiles = []string{
	trashName, "maildirfolder", "maildirsize", "subscriptions", treeLock,
	specialUseFile, "maildird-history", "maildird-quarantine", "maildird-metadata", "maildird-metadata-account", "maildird-urlauth",
	"dovecot-uidlist", "dovecot-uidvalidity", "dovecot-keywords", "dovecot-acl", "dovecot-acl-list", "dovecot-shared",
	"dovecot.index", "dovecot.list.index", "dovecot.mailbox.log",
	".uidvalidity", ".mbsyncstate", ".notmuch",
}

// isTreeFile reports whether mail programs keep a file with this name.
func isTreeFile(name string) bool {
	return slices.ContainsFunc(treeFiles, func(file string) bool {
		rest, ok := strings.CutPrefix(name, file)
		return ok && (rest == "" || rest[0] == '.')
	})
}

func (fsLayout) refuse(at levels) string {
	for _, level := range at {
		switch {
		case len(level) > fileNameMax:
			return fmt.Sprintf("has a level that takes %d octets on disk, where %d is the limit", len(level), fileNameMax)
		case level == "." || level == "..":
			return "has a level that means a directory to the file system"
		case slices.Contains(mailDirs, level):
			return fmt.Sprintf("contains %q, which is the name of a directory in every mailbox on disk", level)
		case isTreeFile(level):
			return fmt.Sprintf("contains %q, which is the name of a file that mail programs keep there", level)
		}
	}
	return ""
}

// hidden reports whether a directory with this name is never a level.
func hidden(name string) bool { return name == trashName || foreign(name) }

// open returns a second handle of the root if at is empty.
func (fsLayout) open(root *dirfd.Dir, at levels) (*dirfd.Dir, error) {
	d, err := root.Dup()
	if err != nil {
		return nil, err
	}
	for _, level := range at {
		var sub *dirfd.Dir
		err := fs.ErrNotExist
		if !slices.Contains(mailDirs, level) && !hidden(level) {
			sub, err = d.OpenDir(level)
		}
		_ = d.Close()
		if err != nil {
			if isMissing(err) {
				err = fs.ErrNotExist
			}
			return nil, err
		}
		d = sub
	}
	return d, nil
}

func (fsLayout) selectable(d *dirfd.Dir) (bool, error) {
	st, err := d.Lstat("cur")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.Mode.IsDir(), err
}

// scanTries is how often the tree is walked while folders are being moved in it.
const scanTries = 4

// scan walks the tree again if folders seem to have been moved meanwhile, until it finds
// the same twice: a folder that moves from a part that was not walked yet to one that was
// would be missed.
func (l fsLayout) scan(root *dirfd.Dir, f func(at levels, selectable bool) error) error {
	var before []fsFound
	for try := 1; ; try++ {
		w := fsWalk{began: time.Now()}
		if _, err := w.visit(root, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !w.moved || try == scanTries || slices.EqualFunc(before, w.found, fsFound.same) {
			before = w.found
			break
		}
		before = w.found
	}
	for _, one := range before {
		if err := f(one.at, one.selectable); err != nil {
			return err
		}
	}
	return nil
}

// fsFound is a directory that a walk found.
type fsFound struct {
	at         levels
	selectable bool
}

func (a fsFound) same(b fsFound) bool {
	return a.selectable == b.selectable && slices.Equal(a.at, b.at)
}

// fsWalk is one walk through the tree.
type fsWalk struct {
	began time.Time
	found []fsFound
	moved bool // a directory was removed or renamed meanwhile, or may have been
}

// visit collects what is below d and reports whether d itself is a mailbox; fs.ErrNotExist
// if d was removed.
func (w *fsWalk) visit(d *dirfd.Dir, at levels) (bool, error) {
	in, err := contentOf(d, maxFolders-len(w.found))
	if err != nil {
		return false, err
	}
	if len(w.found)+len(in.names) >= maxFolders {
		return false, tooMany(d)
	}
	if len(at) > 0 && (in.changed.After(w.began) || dirfd.WithinGrain(w.began, in.changed)) {
		w.moved = true
	}
	for _, name := range in.names {
		below := append(slices.Clip(at), name)
		selectable, err := w.enter(d, name, below)
		switch {
		case isMissing(err):
			w.moved = true
			continue
		case errors.Is(err, fs.ErrPermission):
			// It exists, but this process cannot read it: a level without anything below
			// it.
		case err != nil:
			return false, err
		}
		w.found = append(w.found, fsFound{below, selectable})
	}
	return in.selectable, nil
}

func (w *fsWalk) enter(d *dirfd.Dir, name string, at levels) (selectable bool, err error) {
	sub, err := d.OpenDir(name)
	if err != nil {
		return false, err
	}
	defer sub.Close()
	if len(at) >= maxLevels {
		return false, nil
	}
	return w.visit(sub, at)
}

// fsContent is what matters of a directory's contents.
type fsContent struct {
	names      []string // of the directories in it that are levels of mailbox names
	selectable bool     // it is a mailbox
	changed    time.Time
}

// contentOf lists a directory; fs.ErrNotExist if it was removed.
func contentOf(d *dirfd.Dir, limit int) (in fsContent, err error) {
	for range 3 {
		before, err := d.Stat()
		if err != nil {
			return in, err
		}
		in = fsContent{in.names[:0], false, before.Mtime}
		err = d.List(func(name []byte, kind dirfd.Kind, _ uint64) bool {
			if kind == dirfd.KindUnknown {
				if st, err := d.Lstat(string(name)); err == nil && st.Mode.IsDir() {
					kind = dirfd.KindDir
				}
			}
			if kind != dirfd.KindDir {
				return true
			}
			switch string(name) {
			case "cur":
				in.selectable = true
			case "new", "tmp":
			default:
				if !hidden(string(name)) {
					in.names = append(in.names, string(name))
				}
			}
			return len(in.names) <= limit
		})
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return in, err
		}
		if after, err := d.Stat(); err != nil || after.Mtime.Equal(before.Mtime) {
			break
		}
	}
	slices.Sort(in.names)
	in.names = slices.Compact(in.names)
	return in, nil
}

func (l fsLayout) create(root *dirfd.Dir, at levels) error {
	return retryIfRemoved(func() error { return l.createOnce(root, at) })
}

func (l fsLayout) createOnce(root *dirfd.Dir, at levels) (err error) {
	d, unmake, err := l.makeLevels(root, at)
	if err != nil {
		return err
	}
	defer d.Close()
	defer func() {
		if err != nil {
			unmake()
		}
	}()
	rights, err := d.Rights()
	if err != nil {
		return err
	}
	// "cur" comes last, since it makes the directory a mailbox.
	for _, sub := range []string{"new", "tmp", "cur"} {
		err := makeDir(d, sub, rights)
		if errors.Is(err, fs.ErrExist) && sub == "cur" {
			return fmt.Errorf("%w: %s", ErrExists, d.Path())
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			unfill(d)
			return err
		}
	}
	if err := l.sync(d); err != nil {
		unfill(d)
		return err
	}
	return nil
}

// makeLevels opens the directory of a place and creates those that are missing; unmake
// removes them again. If at is empty, it returns a second handle of the root.
func (l fsLayout) makeLevels(root *dirfd.Dir, at levels) (d *dirfd.Dir, unmake func(), err error) {
	if d, err = root.Dup(); err != nil {
		return nil, nil, err
	}
	had, made := 0, 0
	unmake = func() {
		for n := had + made; n > had; n-- {
			l.removeLevel(root, at[:n])
		}
	}
	for _, level := range at {
		sub, isNew, err := l.makeLevel(d, level)
		_ = d.Close()
		if err != nil {
			unmake()
			return nil, nil, err
		}
		if d = sub; isNew {
			made++
		} else {
			had++
		}
	}
	return d, unmake, nil
}

func (l fsLayout) makeLevel(d *dirfd.Dir, level string) (sub *dirfd.Dir, isNew bool, err error) {
	sub, err = d.OpenDir(level)
	if err == nil || !isMissing(err) {
		return sub, false, err
	}
	rights, err := d.Rights()
	if err != nil {
		return nil, false, err
	}
	sub, err = d.MkdirAs(level, rights)
	if errors.Is(err, fs.ErrExist) {
		if sub, err = d.OpenDir(level); err == nil || !isMissing(err) || errors.Is(err, fs.ErrNotExist) {
			return sub, false, err // another program was faster
		}
		return nil, false, fmt.Errorf("%w: %s/%s is no folder", ErrExists, d.Path(), level)
	}
	if err != nil {
		return nil, false, err
	}
	if err := l.sync(d); err != nil {
		_ = sub.Close()
		return nil, false, errors.Join(err, d.RemoveDir(level))
	}
	return sub, true, nil
}

// removeLevel removes the directory of a place if it is empty.
func (l fsLayout) removeLevel(root *dirfd.Dir, at levels) {
	above, err := l.above(root, at)
	if err != nil {
		return
	}
	defer above.Close()
	_ = above.RemoveDir(at[len(at)-1])
}

func (l fsLayout) remove(root *dirfd.Dir, at levels) (func() error, error) {
	d, err := l.open(root, at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	defer d.Close()
	in, err := contentOf(d, maxFolders)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound // removed in the meantime
	}
	if err != nil {
		return nil, err
	}
	if len(in.names) > 0 {
		if !in.selectable {
			return nil, fmt.Errorf("%w and is itself only a level above them", ErrHasChildren)
		}
		return l.removeContent(root, d)
	}
	above, err := l.above(root, at)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	name := at[len(at)-1]
	if in.selectable {
		return trash(above, name, root, l.sync)
	}
	// It is not a mailbox, so whatever it contains is not mail and must not be removed.
	if err := above.RemoveDir(name); err != nil {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = ErrNotFound // removed in the meantime
		case errors.Is(err, unix.ENOTEMPTY):
			err = fmt.Errorf("%w: %s is no mailbox and holds other files", ErrHasChildren, d.Path())
		}
		return nil, err
	}
	return nil, l.sync(above)
}

// above opens the directory above a place.
func (l fsLayout) above(root *dirfd.Dir, at levels) (*dirfd.Dir, error) {
	d, err := l.open(root, at[:len(at)-1])
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	return d, err
}

// removeContent turns a mailbox into a mere level: it removes the mail, but not what is
// below. Files are removed with the mail, so that a later mailbox of the same name does not
// continue with its UIDs.
func (l fsLayout) removeContent(root, d *dirfd.Dir) (func() error, error) {
	// "cur" goes first: without it, the directory is not a mailbox any more, whatever
	// happens to the rest.
	emptyTrash, err := trash(d, "cur", root, l.sync)
	if err != nil {
		return nil, err
	}
	left := l.removeRest(d)
	return func() error { return errors.Join(left, emptyTrash()) }, nil
}

// removeRest removes what is left of a mailbox other than its cur/.
func (l fsLayout) removeRest(d *dirfd.Dir) error {
	var files []string
	if err := d.List(func(name []byte, kind dirfd.Kind, _ uint64) bool {
		if kind != dirfd.KindDir {
			files = append(files, string(name))
		}
		return len(files) < maxFolders
	}); err != nil {
		return err
	}
	for _, name := range files {
		st, err := d.Lstat(name)
		if err == nil && !st.Mode.IsDir() {
			err = d.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, sub := range []string{"new", "tmp"} {
		if err := d.RemoveAll(sub); err != nil {
			return err
		}
	}
	return l.sync(d)
}

func (l fsLayout) rename(root *dirfd.Dir, from, to levels) error {
	return retryIfRemoved(func() error { return l.renameOnce(root, from, to) })
}

func (l fsLayout) renameOnce(root *dirfd.Dir, from, to levels) error {
	d, err := l.open(root, from)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return err
	}
	_ = d.Close()
	source, err := l.above(root, from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, unmake, err := l.makeLevels(root, to[:len(to)-1])
	if err != nil {
		return err
	}
	defer target.Close()
	err = renameDir(source, from[len(from)-1], target, to[len(to)-1])
	if err == nil {
		if err = errors.Join(l.sync(target), l.sync(source)); err != nil {
			err = errors.Join(err, renameDir(target, to[len(to)-1], source, from[len(from)-1]))
		}
	}
	if err != nil {
		unmake()
		return err
	}
	return nil
}
