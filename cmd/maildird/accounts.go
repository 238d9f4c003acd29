package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"maildird/auth"
	"maildird/maildir"
	"maildird/maildir/dirfd"
	"maildird/server/config"
)

// account is a user and the path of his Maildir.
type account struct {
	name, root string
	// accept returns an error if a Maildir is not that of the system user who owns the mail.
	// It is nil unless this process runs as root and acts for several system users: they may
	// have put links to other directories in the place of theirs.
	accept func(root *dirfd.Dir) error
}

// refused reports whether the Maildir exists but cannot be opened, or is not accepted.
func (a account) refused() bool {
	if a.accept == nil {
		return false
	}
	root, err := dirfd.Open(a.root)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer root.Close()
	return a.accept(root) != nil
}

// accountsOf returns the users whose Maildirs a command works on: the named one, or all. The
// error lists users whose line in the users file cannot be used or whose Maildir has no path;
// the others are still returned.
func accountsOf(cfg *config.Config, user string) ([]account, error) {
	users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	var all []auth.User
	var failed []error
	switch u, ok := users.Lookup(user); {
	case user == "":
		all, failed = users.All(), leftOut(users)
	case ok:
		all = []auth.User{u}
	case users.LeftOut(user):
		failed = leftOut(users)
	default:
		return nil, fmt.Errorf("no such user: %s; \"maildird user list\" lists the users", user)
	}
	var found []account
	for _, u := range all {
		root, err := cfg.Mail.Location.Expand(u.Name, u.Home)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		a := account{name: u.Name, root: root}
		if os.Geteuid() == 0 && u.UID >= 0 {
			a.accept = (&maildir.Owner{UID: u.UID, GID: u.GID, Home: u.Home}).Owns
		}
		found = append(found, a)
	}
	return found, errors.Join(failed...)
}

// leftOut returns an error for each unusable line of the users file.
func leftOut(users *auth.Users) []error {
	problems, _, err := users.Problems()
	if err != nil {
		return []error{err}
	}
	var lines []error
	for _, p := range problems {
		lines = append(lines, fmt.Errorf("skipped a user: %s", p))
	}
	return lines
}

// eachAccount calls work for one account after the other. It continues after an error, but not
// after the end of ctx.
func eachAccount(ctx context.Context, accounts []account, work func(account) error) error {
	var failed []error
	for _, a := range accounts {
		failed = append(failed, work(a))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}
