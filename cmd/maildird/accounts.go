package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"maildird/auth"
	"maildird/server/config"
)

// account is a user and the path of his Maildir.
type account struct{ name, root string }

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
		found = append(found, account{u.Name, root})
	}
	return found, errors.Join(failed...)
}

// leftOut returns an error for each unusable line of the users file.
func leftOut(users *auth.Users) []error {
	problems, err := users.Problems()
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
