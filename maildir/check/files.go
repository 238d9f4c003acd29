package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dupes"
	"maildird/maildir/keywords"
	"maildird/maildir/quarantine"
	"maildird/maildir/uidlist"
)

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
			same, err := dupes.Same(a.dir, g.Files[0], d)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			f := file{a: a, part: d.Part, name: d.Name, st: d.Stat}
			if same {
				a.add(f.label(), fmt.Sprintf("the same message also exists as %s: two programs renamed it at once, or a copy was made while it was renamed", g.Files[0]), c.setAside(f))
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

// list checks dovecot-uidlist.
func (c *checker) list(_ context.Context, a *at) error {
	var log complaints
	list := uidlist.New(a.dir, uidlist.Options{Fsync: true, Log: slog.New(&log)})
	change, err := list.Refresh(func(uidlist.Record) {})
	switch {
	case errors.Is(err, dirfd.ErrNotRegular):
		a.add(uidlist.Name, "it is not a regular file, so no UID can be read or assigned", c.setBeside(a, uidlist.Name))
	case err != nil:
		a.add(uidlist.Name, fmt.Sprintf("it cannot be read: %v", err), nil)
	case change == uidlist.Missing:
	case list.Damaged():
		a.add(uidlist.Name, "it is damaged: "+strings.Join(log.texts, "; ")+"; Dovecot would discard it and give all messages new UIDs",
			func() (string, error) { return c.mendList(a) })
	case list.Header().NextUID > uidlist.MaxUID-1<<20:
		a.add(uidlist.Name, fmt.Sprintf("its UIDs are nearly used up (next is %d): move the mail to a new folder", list.Header().NextUID), nil)
	}
	return nil
}

// mendList rewrites the list with every record that can be read.
func (c *checker) mendList(a *at) (string, error) {
	list := uidlist.New(a.dir, uidlist.Options{Fsync: true})
	var all []uidlist.Record
	if _, err := list.Refresh(func(r uidlist.Record) { all = append(all, r) }); err != nil {
		return "", err
	}
	if !list.Damaged() {
		return "another program did", nil
	}
	h := list.Header()
	done := fmt.Sprintf("rewrote it with the %d UIDs that can be read", len(all))
	if h.UIDValidity == 0 {
		validity, err := uidlist.NextValidity(c.root, c.opt.Now(), true)
		if err != nil {
			return "", err
		}
		h.UIDValidity = validity
		done += "; it had no UIDVALIDITY and was given a new one"
	}
	return done, list.Rewrite(h, slices.Values(all))
}

// keywords checks dovecot-keywords against the letters in use.
func (c *checker) keywords(_ context.Context, a *at) error {
	table := keywords.New(a.dir, true)
	if _, err := table.Refresh(); err != nil {
		var repair func() (string, error)
		if errors.Is(err, dirfd.ErrNotRegular) {
			repair = c.setBeside(a, "dovecot-keywords")
		}
		a.add("dovecot-keywords", fmt.Sprintf("it cannot be read, so messages lose their keywords: %v", err), repair)
		return nil
	}
	for i, n := range a.letters {
		if _, ok := table.Name(i); n > 0 && !ok {
			a.add("dovecot-keywords", fmt.Sprintf("the letter %c in the names of %d messages stands for no keyword: its line was lost, or the messages come from another folder", 'a'+i, n), nil)
		}
	}
	return nil
}

// setBeside moves a file beside the messages into the quarantine.
func (c *checker) setBeside(a *at, name string) func() (string, error) {
	return func() (string, error) {
		to, err := quarantine.Move(c.root, a.path, a.dir, name)
		return "moved it to " + to, err
	}
}

// lockAge is the age from which a lock file counts as left behind. Programs that hold a
// lock for long touch it every few seconds.
const lockAge = time.Hour

// leftLocks finds lock files whose holders are long gone.
func (c *checker) leftLocks(a *at) error {
	var names []string
	err := a.dir.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		if name := string(raw); strings.HasSuffix(name, ".lock") && kind != dirfd.KindDir {
			names = append(names, name)
		}
		return len(names) < most
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := a.dir.Lstat(name)
		if err != nil || c.opt.Now().Sub(st.Mtime) < lockAge {
			continue
		}
		cause := fmt.Sprintf("a program that ended or hangs left this lock %s ago; others wait for it", days(c.opt.Now().Sub(st.Mtime)))
		if name != uidlist.Name+".lock" {
			a.add(name, cause, c.setBeside(a, name))
			continue
		}
		// Repairs are made under this lock, and take it over if possible.
		a.add(name, cause, func() (string, error) { return "took it over", nil })
	}
	return nil
}

// complaints collects what a list logs about itself.
type complaints struct {
	texts []string
}

func (c *complaints) Enabled(context.Context, slog.Level) bool { return true }

func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	text := strings.TrimPrefix(r.Message, "dovecot-uidlist is damaged, keeping what can be read: ")
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "line" {
			text += fmt.Sprintf(" (%q)", a.Value.String())
		}
		return true
	})
	c.texts = append(c.texts, text)
	return nil
}

func (c *complaints) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *complaints) WithGroup(string) slog.Handler      { return c }
