package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"maildird/maildir/restore"
	"maildird/server/config"
)

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore MAILDIR... [--dry-run] | restore --config FILE [--user ADDRESS] [--dry-run]",
		Short: "Prepare a Maildir that was copied by rsync for use",
		Long: "Prepare Maildirs that plain rsync (or cp, or tar) copied while they were in use, before a\n" +
			"server or mail program opens them. A message that was copied under several names, with\n" +
			"different flags, is reduced to one, and UIDs that clients may know are not used again.\n" +
			"Nothing is deleted except second names of the same content. Each change is reported on\n" +
			"one line. Snapshots made by \"maildird backup\" do not need this.",
	}
	path := cmd.Flags().StringP("config", "c", "", "path of maildird.toml, to work on the Maildirs of its users")
	user := userFlag(cmd, path)
	dry := cmd.Flags().Bool("dry-run", false, "report what would be done, but change nothing")
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		accounts, skipped, err := restoreWhat(cmd, *path, *user, args)
		if err != nil {
			return err
		}
		with, err := newTools()
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		return errors.Join(skipped, eachAccount(ctx, accounts, func(a account) error {
			if err := restoreOne(ctx, cmd, a, *dry, with); err != nil {
				return fmt.Errorf("%s: %w", a.name, printableError{err})
			}
			return nil
		}))
	}
	return cmd
}

// restoreWhat returns the Maildirs that are named, or those of the users. skipped lists users
// whose Maildirs cannot be found; the others are still restored.
func restoreWhat(cmd *cobra.Command, path, user string, args []string) (found []account, skipped, err error) {
	switch {
	case path == "" && len(args) == 0:
		return nil, nil, misuse(cmd, "give the path of a Maildir, or --config FILE")
	case path != "" && len(args) > 0:
		return nil, nil, misuse(cmd, "give either Maildirs or --config, not both")
	case path == "" && user != "":
		return nil, nil, misuse(cmd, "--user requires --config")
	case path != "":
		cfg, err := config.Load(path)
		if err != nil {
			return nil, nil, err
		}
		all, skipped := accountsOf(cfg, user)
		for _, a := range all {
			switch _, err := os.Stat(a.root); {
			case err == nil:
				found = append(found, a)
			case errors.Is(err, fs.ErrNotExist):
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: no mail yet (there is no %s)\n", a.name, a.root)
			default:
				skipped = errors.Join(skipped, fmt.Errorf("%s: %w", a.name, err))
			}
		}
		return found, skipped, nil
	}
	for _, root := range args {
		found = append(found, account{name: root, root: root})
	}
	return found, nil, nil
}

func restoreOne(ctx context.Context, cmd *cobra.Command, a account, dry bool, with tools) error {
	out := cmd.OutOrStdout()
	prefix := ""
	if dry {
		prefix = "dry run: "
	}
	bar := newProgress(cmd.ErrOrStderr(), a.name, "folders")
	r, err := restore.Run(ctx, restore.Options{
		Root: a.root, DryRun: dry, Locker: with.locker, Delivery: with.delivery, Accept: a.accept, Progress: bar.update,
		Tell: func(c restore.Change) {
			bar.end()
			fmt.Fprintf(out, "%s%s: %s: %s\n", prefix, a.name, printable(c.Folder), printable(c.Text))
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
