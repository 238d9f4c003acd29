package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/quarantine"
	"maildird/maildir/walk"
)

// leftAge is the age from which a file counts as left behind: 36 hours, as in the Maildir
// specification for tmp.
const leftAge = 36 * time.Hour

// longestName is the length of the longest name to which all flags can still be added.
const longestName = 255 - len(":2,DFPRSTabcdefghijklmnopqrstuvwxyz")

// part checks new, cur or tmp of a folder, and its contents.
func (c *checker) part(ctx context.Context, a *at, part string) error {
	st, err := a.dir.Lstat(part)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.problems = append(a.problems, problem{
			name: part, cause: "the directory is missing; deliveries to it will fail", tree: true,
			repair: func() (string, error) { return c.make(ctx, a, part) },
		})
		return nil
	case err != nil:
		return err
	case !st.Mode.IsDir():
		a.add(part, fmt.Sprintf("it is %s instead of a directory", kindOf(st)), nil)
		return nil
	}
	c.rights(a, "", part, st, 0o700)
	dir, err := a.dir.OpenDir(part)
	if walk.Gone(err) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		a.add(part, "this process may not list it, so its contents were not checked", nil)
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	var failed error
	err = dir.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		if failed = context.Cause(ctx); failed != nil {
			return false
		}
		f := file{a: a, dir: dir, part: part, name: string(raw)}
		if f.st, failed = dir.Lstat(f.name); errors.Is(failed, fs.ErrNotExist) {
			failed = nil
			return true
		}
		if failed == nil {
			failed = c.entry(ctx, f)
		}
		if failed == nil && len(a.problems) >= most {
			failed = c.settle(ctx, a)
		}
		return failed == nil
	})
	return errors.Join(err, failed)
}

// make creates a missing part of a folder, unless the folder was deleted, or the program
// that is just creating the folder has created that part too.
func (c *checker) make(ctx context.Context, a *at, part string) (string, error) {
	err := c.folders.Still(ctx, func() error {
		_, noNew := a.dir.Lstat("new")
		_, noCur := a.dir.Lstat("cur")
		if errors.Is(noNew, fs.ErrNotExist) && errors.Is(noCur, fs.ErrNotExist) {
			return fs.ErrNotExist
		}
		rights, err := a.dir.Rights()
		if err != nil {
			return err
		}
		made, err := a.dir.MkdirAs(part, rights)
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrNotExist
		}
		if err != nil {
			return err
		}
		return errors.Join(made.Close(), a.dir.Sync())
	})
	if err != nil {
		return "", err
	}
	return "made it", nil
}

// file is one entry of new, cur or tmp.
type file struct {
	a    *at
	dir  *dirfd.Dir
	part string
	name string
	st   dirfd.Stat
}

// label returns the name for display.
func (f file) label() string { return f.part + "/" + label(f.name) }

// label quotes a name if it contains characters that would garble the line.
func label(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

func (c *checker) entry(ctx context.Context, f file) error {
	if f.part == "tmp" {
		if f.st.Regular() && f.name[0] != '.' && c.opt.Now().Sub(f.st.Ctime) > leftAge {
			f.a.add(f.label(), fmt.Sprintf("an unfinished delivery left it here %s ago", age(c.opt.Now().Sub(f.st.Ctime))), c.setAside(f))
		}
		return nil
	}
	if !f.st.Regular() {
		f.a.add(f.label(), "it is "+kindOf(f.st)+", not a message; mail programs may follow it, wait for it or fail", c.setAside(f))
		return nil
	}
	if f.name[0] == '.' {
		if c.opt.Now().Sub(f.st.Ctime) > leftAge && !strings.HasPrefix(f.name, ".nfs") {
			f.a.add(f.label(), "its name begins with a dot, so no mail program shows it; an interrupted copy leaves such files", c.setAside(f))
		}
		return nil
	}
	if c.Messages++; c.opt.Progress != nil && c.Messages%64 == 0 {
		c.opt.Progress(c.Messages, max(c.total, c.Messages))
	}
	filename.FlagsOf(f.name).EachKeyword(func(i int) { f.a.letters[i]++ })
	c.rights(f.a, f.part, f.name, f.st, 0o600)
	if c.oddName(f) {
		return nil
	}
	return c.sizes(ctx, f)
}

// oddName checks the name except for the sizes in it.
func (c *checker) oddName(f file) bool {
	cause := ""
	switch base := filename.Base(f.name); {
	case base == "":
		cause = "its name has nothing before the colon, so it has no identity"
	case strings.ContainsAny(f.name, "\r\n"):
		cause = "its name has a line break, which no uidlist can hold, so mail programs ignore it"
	case len(base) > longestName:
		cause = "its name is so long that not all flags can be added"
	}
	if cause != "" {
		f.a.add(f.label(), cause, c.rename(f, func() string { return c.freshName(f) }))
		return true
	}
	// Unknown letters and fields belong to some program, and are kept.
	if proper := filename.WithFlags(f.name, filename.FlagsOf(f.name)); strings.Contains(f.name, ":2,") && proper != f.name {
		f.a.add(f.label(), "its flags are not in ASCII order, or are repeated; notmuch ignores such a file",
			c.rename(f, func() string { return proper }))
		return true
	}
	return false
}

// freshName returns a name with a new base and the old flags.
func (c *checker) freshName(f file) string {
	name := c.opt.Delivery.UniqueName()
	if flags := filename.FlagsOf(f.name); f.part == "cur" || flags != 0 {
		name = filename.WithFlags(name, flags)
	}
	return name
}

// rename returns a repair that renames a file to the name that to returns, without
// replacing another file.
func (c *checker) rename(f file, to func() string) func() (string, error) {
	return f.a.in(f.part, func(dir *dirfd.Dir) (string, error) {
		name := to()
		if err := dir.RenameNoReplace(f.name, dir, name); err != nil {
			return "", err
		}
		return "renamed it to " + f.part + "/" + label(name), dir.Sync()
	})
}

// setAside returns a repair that moves a file into the quarantine.
func (c *checker) setAside(f file) func() (string, error) {
	return f.a.in(f.part, func(dir *dirfd.Dir) (string, error) {
		to, err := quarantine.Move(c.root, f.a.path, dir, f.name)
		return "moved it to " + strconv.Quote(to), err
	})
}

// rights checks who owns a file or directory, and its owner's rights. A file with several
// names that does not belong to the Maildir's owner is not changed: otherwise, root would
// give the owner anything that they can hard-link.
func (c *checker) rights(a *at, part, name string, st dirfd.Stat, wanted fs.FileMode) {
	label := file{part: part, name: name}.label()
	if part == "" {
		label = name
	}
	chmod := func(mode fs.FileMode) func() (string, error) {
		return a.in(part, func(dir *dirfd.Dir) (string, error) {
			return fmt.Sprintf("set its rights to %04o", mode), dir.Chmod(name, mode)
		})
	}
	if st.Regular() && st.Nlink > 1 && st.UID != c.owner.UID {
		a.add(label, fmt.Sprintf("it belongs to user %d, the Maildir to user %d, who may have linked it here to get at it: it is not served; if its other names are in snapshots (find -samefile), give it to user %d (chown), otherwise remove this name", st.UID, c.owner.UID, c.owner.UID), nil)
		return
	}
	mode := st.Mode.Perm()
	if mode&wanted != wanted {
		a.add(label, fmt.Sprintf("its owner may not read and write it (mode %04o)", mode), chmod(mode|wanted))
	}
	if mode&0o002 != 0 && c.owner.Mode&0o002 == 0 {
		a.add(label, fmt.Sprintf("every user of this machine may change it (mode %04o)", mode), chmod(mode&^0o002|wanted))
	}
	if st.UID != c.owner.UID {
		a.add(label, fmt.Sprintf("it belongs to user %d, the Maildir to user %d, who may be unable to read or flag it", st.UID, c.owner.UID), c.chown(a, part, name))
	}
}

func (c *checker) chown(a *at, part, name string) func() (string, error) {
	return a.in(part, func(dir *dirfd.Dir) (string, error) {
		if os.Geteuid() != 0 {
			return "", errors.New("only root can give files to another user")
		}
		return fmt.Sprintf("gave it to user %d", c.owner.UID), dir.Chown(name, int(c.owner.UID), -1)
	})
}

func kindOf(st dirfd.Stat) string {
	switch {
	case st.Regular():
		return "a file"
	case st.Mode.IsDir():
		return "a directory"
	case st.Mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case st.Mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case st.Mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// age returns an age of an hour or more in words.
func age(d time.Duration) string {
	n, unit := int(d.Hours()), "hour"
	if n >= 48 {
		n, unit = n/24, "day"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
