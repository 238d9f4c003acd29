package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"maildird/maildir/dupes"
)

// secondNameGrace is how long a second name of a file is left alone: a program that renames it
// by link and unlink, as mutt does, may be about to remove the first. A server waits as long.
const secondNameGrace = 30 * time.Second

// duplicates finds messages that have several names.
func (c *checker) duplicates(ctx context.Context, a *at) error {
	groups, err := dupes.Find(a.dir)
	if err != nil {
		return err
	}
	for _, g := range groups {
		for _, d := range g.Files[1:] {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if g.Files[0].ID() == d.ID() && c.opt.Now().Sub(d.Ctime) < secondNameGrace {
				continue
			}
			same, err := dupes.Same(a.dir, g.Files[0], d)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			f := file{a: a, part: d.Part, name: d.Name, st: d.Stat}
			if same {
				a.add(f.label(), fmt.Sprintf("the same message also exists as %s: two programs renamed it at once, or a copy was made while it was renamed", g.Files[0]), c.setAsideSecond(f, g.Files[0]))
			} else {
				a.add(f.label(), fmt.Sprintf("another message has the same name up to the flags (%s), so both share one UID", g.Files[0]), c.rename(f, func() string { return c.freshName(f) }))
			}
		}
		if len(a.problems) >= most {
			if err := c.settle(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAsideSecond is setAside for a second name of a message, unless the first one is gone by
// now: a server may have removed that one of the two.
func (c *checker) setAsideSecond(f file, first dupes.File) func() (string, error) {
	aside := c.setAside(f)
	return func() (string, error) {
		part, err := f.a.dir.OpenDir(first.Part)
		if err != nil {
			return "", err
		}
		defer part.Close()
		if st, err := part.Lstat(first.Name); err != nil || st.ID() != first.ID() {
			return "", cmp.Or(err, fs.ErrNotExist)
		}
		return aside()
	}
}
