package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/restore"
)

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore MAILDIR... [--dry-run] | restore --config FILE [--user ADDRESS] [--dry-run]",
		Short: "Make a Maildir that rsync copied fit to be served",
		Long: "Make Maildirs that plain rsync (or cp, tar) copied while they were in use fit to be\n" +
			"served, before a server or mail program opens them: a message that lies there under\n" +
			"several flag names gets back to one, and UIDs that clients may know are not given out\n" +
			"again. Nothing is deleted but second names of the same bytes. One line is printed\n" +
			"for each change. Snapshots of \"maildird backup\" need none of this.",
	}
	path := cmd.Flags().StringP("config", "c", "", "path of maildird.toml: work on the users' Maildirs")
	user := cmd.Flags().String("user", "", "only this user")
	dry := cmd.Flags().Bool("dry-run", false, "only print what would be done")
	if err := errors.Join(cmd.MarkFlagFilename("config", "toml"),
		cmd.RegisterFlagCompletionFunc("user", func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeUser(path)(cmd, nil, word)
		})); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		accounts, err := restoreWhat(cmd, *path, *user, args)
		if err != nil {
			return err
		}
		var failed []error
		for _, a := range accounts {
			if err := restoreOne(cmd, a, *dry); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", a.name, err))
			}
		}
		return errors.Join(failed...)
	}
	return cmd
}

// restoreWhat lists the Maildirs that are named, or those of the users.
func restoreWhat(cmd *cobra.Command, path, user string, args []string) ([]account, error) {
	switch {
	case path == "" && len(args) == 0:
		return nil, misuse(cmd, "say which Maildir: a path, or --config FILE")
	case path != "" && len(args) > 0:
		return nil, misuse(cmd, "name Maildirs or give --config, not both")
	case path == "" && user != "":
		return nil, misuse(cmd, "--user needs --config")
	case path != "":
		all, err := accountsOf(path, user, cmd.ErrOrStderr())
		if err != nil {
			return nil, err
		}
		var there []account
		for _, a := range all {
			if _, err := os.Stat(a.root); err == nil {
				there = append(there, a)
			} else {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", a.name, err)
			}
		}
		return there, nil
	}
	var all []account
	for _, root := range args {
		all = append(all, account{root, root})
	}
	return all, nil
}

func restoreOne(cmd *cobra.Command, a account, dry bool) error {
	ctx, stop := interruptible(cmd)
	defer stop()
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	prefix := ""
	if dry {
		prefix = "dry run: "
	}
	bar := newProgress(cmd.ErrOrStderr(), a.name, "folders")
	r, err := restore.Run(ctx, restore.Options{
		Root: a.root, DryRun: dry, Locker: dotlock.NewLocker(host), Progress: bar.update,
		Delivery: &delivery.Options{Host: host, PID: os.Getpid(), Fsync: true},
		Tell: func(c restore.Change) {
			bar.end()
			fmt.Fprintf(out, "%s%s: %s: %s\n", prefix, a.name, c.Folder, c.Text)
		},
	})
	bar.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s%s: %s; second names removed: %d, parts set aside: %d, messages renamed: %d, new UIDVALIDITY: %d\n",
		prefix, a.name, many(r.Folders, "folder"), r.Merged, r.SetAside, r.Renamed, r.NewValidity)
	return nil
}
