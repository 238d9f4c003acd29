package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/keywords"
	"maildird/maildir/quarantine"
	"maildird/maildir/uidlist"
)

// list checks dovecot-uidlist.
func (c *checker) list(a *at) {
	var log complaints
	list := uidlist.New(a.dir, uidlist.Options{Fsync: true, Log: slog.New(&log)})
	change, err := list.Refresh(func(uidlist.Record) {})
	switch {
	case errors.Is(err, dirfd.ErrNotRegular):
		a.add(uidlist.Name, "it is not a regular file, so no UID can be read or assigned", c.setBeside(a, uidlist.Name, a.unusable))
	case err != nil:
		a.add(uidlist.Name, fmt.Sprintf("it cannot be read: %v", err), nil)
	case change == uidlist.Missing:
	case list.Damaged():
		a.add(uidlist.Name, "it is damaged: "+strings.Join(log.texts, "; ")+"; Dovecot would discard it and give all messages new UIDs",
			func() (string, error) { return c.mendList(a) })
	case list.Header().NextUID > uidlist.MaxUID-1<<20:
		a.add(uidlist.Name, fmt.Sprintf("its UIDs are nearly used up (next is %d): move the mail to a new folder", list.Header().NextUID), nil)
	}
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
func (c *checker) keywords(a *at) {
	table := keywords.New(a.dir, true)
	if _, err := table.Refresh(); err != nil {
		var repair func() (string, error)
		if errors.Is(err, dirfd.ErrNotRegular) {
			repair = c.setBeside(a, "dovecot-keywords", a.unusable)
		}
		a.add("dovecot-keywords", fmt.Sprintf("it cannot be read, so messages lose their keywords: %v", err), repair)
		return
	}
	for i, n := range a.letters {
		if _, ok := table.Name(i); n > 0 && !ok {
			a.add("dovecot-keywords", fmt.Sprintf("the letter %c in the names of %d messages stands for no keyword: its line was lost, or the messages come from another folder", 'a'+i, n), nil)
		}
	}
}

// setBeside returns a repair that moves a file beside the messages into the quarantine, unless
// still says that by now another program has put something else in its place.
func (c *checker) setBeside(a *at, name string, still func(name string) bool) func() (string, error) {
	return func() (string, error) {
		if !still(name) {
			return "", fs.ErrNotExist
		}
		to, err := quarantine.Move(c.root, a.path, a.dir, name)
		return "moved it to " + label(to), err
	}
}

// unusable reports whether a file cannot be used because it is not a regular one.
func (a *at) unusable(name string) bool {
	f, err := a.dir.Open(name)
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, dirfd.ErrNotRegular)
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
