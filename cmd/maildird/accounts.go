package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"maildird/auth"
	"maildird/server/config"
)

// account is a user and the place of the Maildir.
type account struct{ name, root string }

// accountsOf lists the users whose Maildir a command works on: one if it is
// named, else all. What is wrong with the users file goes to errOut. The error
// names those whose Maildir has no place; the others are returned beside it.
func accountsOf(cfg *config.Config, user string, errOut io.Writer) ([]account, error) {
	users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.NewTextHandler(errOut, nil)))
	if err != nil {
		return nil, err
	}
	all := users.All()
	if user != "" {
		u, ok := users.Lookup(user)
		if !ok {
			return nil, fmt.Errorf("there is no user %s; \"maildird user list\" lists them", user)
		}
		all = []auth.User{u}
	}
	var found []account
	var failed []error
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

// eachAccount works on one account after the other. One that fails keeps no
// other from its turn; the end of ctx does.
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
