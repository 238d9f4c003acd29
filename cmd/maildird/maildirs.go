package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"maildird/auth"
	"maildird/server/config"
)

// account is a user and the place of the Maildir.
type account struct{ name, root string }

// accountsOf lists the users of a configuration whose Maildir a command works
// on: one if it is named, else all. A user whose Maildir has no place is an
// error only if asked for by name; otherwise it is told.
func accountsOf(path, user string, errOut io.Writer) ([]account, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
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

// interruptible gives a context that ends at Ctrl-C or SIGTERM, so that what is
// under way can be taken back.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
}

// many writes a count: "1 message", "2 messages".
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
