package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"maildird/auth"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
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

// tools is what a command locks folders and writes messages with: one for all
// accounts, as its parts are to be one for the process.
type tools struct {
	locker   *dotlock.Locker
	delivery *delivery.Options
}

func newTools() (tools, error) {
	host, err := os.Hostname()
	if err != nil {
		return tools{}, err
	}
	return tools{dotlock.NewLocker(host), &delivery.Options{Host: host, PID: os.Getpid(), Fsync: true}}, nil
}

// userFlag adds --user, which the shell completes from the configuration at
// path.
func userFlag(cmd *cobra.Command, path *string) *string {
	user := cmd.Flags().String("user", "", "only this user")
	if err := cmd.RegisterFlagCompletionFunc("user", func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeUser(path)(cmd, nil, word)
	}); err != nil {
		panic(err) // the flag is there
	}
	return user
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
