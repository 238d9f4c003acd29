// Package walk visits every directory of a Maildir, whatever its layout, for programs that
// work on whole trees: backup, restore, check.
//
// Package folder maps mailbox names to directories, and skips what cannot be shown to
// clients. A backup must not do that: here, every directory is included, under its name on
// disk.
package walk

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// The limits for one tree.
const (
	maxDirs   = 1 << 17
	maxLevels = 100
)

// Dir is one directory of a tree.
type Dir struct {
	Path string // below the root, levels joined by '/'; "" for the root
	ID   dirfd.ID
	// Folder is set if it contains cur or new, so that messages can be in it. Other
	// directories are levels above folders, or something else.
	Folder bool
}

// trash is the directory to which Dovecot moves what is being deleted.
const trash = "..DOVECOT-TRASHED"

// notmuch is the directory of notmuch's database, a copy of which would be useless if it was
// made while the database was in use. But in Maildir++ it is also that of the mailbox
// "notmuch", and is not skipped if it holds mail.
const notmuch = ".notmuch"

// MailDirs are the parts of a folder.
var MailDirs = []string{"new", "cur", "tmp"}

// Tree lists root and every directory below it, sorted by path, except for the parts of a
// folder (new, cur, tmp). Symbolic links are not directories. A directory that cannot be
// opened is an error, since nobody could tell what it contains. One that disappears during
// the walk is left out.
func Tree(root *dirfd.Dir) ([]Dir, error) {
	w := walker{left: maxDirs}
	id, err := root.ID()
	if err != nil {
		return nil, err
	}
	if err := w.visit(root, Dir{ID: id}, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(w.found, func(a, b Dir) int { return strings.Compare(a.Path, b.Path) })
	return w.found, nil
}

// walker is what Tree has found, and how many more directories are allowed.
type walker struct {
	found []Dir
	left  int
}

// visit adds the directory self, open as d, and those below it.
func (w *walker) visit(d *dirfd.Dir, self Dir, level int) error {
	if level > maxLevels {
		return fmt.Errorf("too many directories for a Maildir: %s has more than %d levels", d.Path(), maxLevels)
	}
	var names []string
	err := d.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		name := string(raw)
		switch {
		case name == "cur" || name == "new":
			self.Folder = self.Folder || w.isDir(d, name, kind)
		case name == "tmp" || name == trash:
		case w.isDir(d, name, kind):
			names = append(names, name)
		}
		return len(names) <= w.left
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if w.left -= len(names); w.left < 0 {
		return fmt.Errorf("too many directories for a Maildir: %s has more than %d", d.Path(), maxDirs)
	}
	w.found = append(w.found, self)
	for _, name := range names {
		if err := w.enter(d, self.Path, name, level+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) enter(d *dirfd.Dir, path, name string, level int) error {
	sub, err := d.OpenDir(name)
	if Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	id, err := sub.ID()
	if err != nil {
		return err
	}
	self := Dir{Path: Join(path, name), ID: id}
	if name != notmuch {
		return w.visit(sub, self, level)
	}
	if self.Folder = HoldsMail(sub); self.Folder {
		w.found = append(w.found, self)
	}
	return nil
}

// HoldsMail reports whether a directory's cur/ or new/ contains any files. That these
// directories exist means nothing: Dovecot treats any directory as a folder, and creates
// them when a client asks for the status of all folders.
func HoldsMail(d *dirfd.Dir) bool {
	for _, sub := range []string{"cur", "new"} {
		in, err := d.OpenDir(sub)
		if err != nil {
			continue
		}
		found := false
		err = in.List(func(name []byte, _ dirfd.Kind, _ uint64) bool {
			found = found || name[0] != '.'
			return !found
		})
		_ = in.Close()
		if err == nil && found {
			return true
		}
	}
	return false
}

func (w *walker) isDir(d *dirfd.Dir, name string, kind dirfd.Kind) bool {
	if kind != dirfd.KindUnknown {
		return kind == dirfd.KindDir
	}
	st, err := d.Lstat(name)
	return err == nil && st.Mode.IsDir()
}

// Gone reports whether an error means that there is no such directory, or no longer one,
// including that something else has its name.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// Join returns the path of a name in the directory at a path returned by Tree.
func Join(path, name string) string { return strings.TrimPrefix(path+"/"+name, "/") }

// Open opens the directory at a path returned by Tree. The caller closes it.
func Open(root *dirfd.Dir, path string) (*dirfd.Dir, error) {
	d, err := root.Dup()
	if err != nil || path == "" {
		return d, err
	}
	for level := range strings.SplitSeq(path, "/") {
		sub, err := d.OpenDir(level)
		_ = d.Close()
		if err != nil {
			return nil, err
		}
		d = sub
	}
	return d, nil
}

// Title returns the name of a directory for people: the path, or INBOX for the root.
func Title(path string) string {
	if path == "" {
		return "INBOX"
	}
	return path
}
