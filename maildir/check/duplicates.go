package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"maildird/maildir/dirfd"
	"maildird/maildir/dupes"
)

// duplicates finds messages that have several names.
func (c *checker) duplicates(ctx context.Context, a *at) error {
	groups, err := dupes.Find(a.dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // part reports what may not be listed
	}
	if err != nil {
		return err
	}
	for _, g := range groups {
		for _, d := range g.Files[1:] {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if g.Files[0].ID() == d.ID() && c.opt.Now().Sub(d.Ctime) < dupes.SecondNameGrace {
				continue
			}
			same, err := dupes.Same(a.dir, g.Files[0], d)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			f := file{a: a, part: d.Part, name: d.Name, st: d.Stat}
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, dirfd.ErrNotRegular) {
				a.add(f.label(), fmt.Sprintf("it has the same name up to the flags as %s, with which it cannot be compared: %v", g.Files[0], err), nil)
				continue
			}
			if err != nil {
				return err
			}
			if same {
				a.add(f.label(), fmt.Sprintf("the same message also exists as %s: two programs renamed it at once, or a copy was made while it was renamed", g.Files[0]), c.ifStill(a, d, g.Files[0], c.setAside(f)))
			} else {
				a.add(f.label(), fmt.Sprintf("another message has the same name up to the flags (%s), so both share one UID", g.Files[0]), c.ifStill(a, d, g.Files[0], c.rename(f, func() string { return c.freshName(f) })))
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

// ifStill returns a repair of the second of two names, unless by now another program has removed
// the first, which a server may have done, or changed either: the second would then keep its name
// and UID.
func (c *checker) ifStill(a *at, second, first dupes.File, repair func() (string, error)) func() (string, error) {
	return func() (string, error) {
		if settled, err := dupes.Settled(a.dir, second, first, c.opt.Now()); err != nil || !settled {
			return "", cmp.Or(err, fs.ErrNotExist)
		}
		return repair()
	}
}
