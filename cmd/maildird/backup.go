package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"maildird/maildir/backup"
	"maildird/maildir/dotlock"
	"maildird/server/config"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup --config FILE DEST [--user ADDRESS]",
		Short: "Make a snapshot of each user's Maildir",
		Long: "Make a snapshot of each user's Maildir as it is at one moment: DEST/ADDRESS/TIME, itself\n" +
			"a plain Maildir. The server and mail programs may keep running. On the same file system\n" +
			"messages are hard links and take no space; on another, they are shared with the previous\n" +
			"snapshot. A snapshot gets its name only when it is complete and on disk, and\n" +
			"DEST/ADDRESS/latest points to the newest. To restore a snapshot, copy it into the place of\n" +
			"the Maildir. The exit code is 1 if any user got no new snapshot, for example because the\n" +
			"user's line in the users file cannot be used, or one that lacks what cannot be read.",
		Args: one("DEST"),
	}
	path := configFlag(cmd)
	user := userFlag(cmd, path)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		accounts, skipped := accountsOf(cfg, *user)
		if skipped != nil && len(accounts) == 0 {
			return skipped
		}
		if err := outsideMaildirs(args[0], cfg); err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		locker := dotlock.NewLocker("")
		return errors.Join(skipped, eachAccount(ctx, accounts, func(a account) error {
			return backupOne(ctx, cmd, a, args[0], locker)
		}))
	}
	return cmd
}

// outsideMaildirs refuses a destination inside a Maildir, including those of users who are
// not being backed up.
func outsideMaildirs(dest string, cfg *config.Config) error {
	everybody, _ := accountsOf(cfg, "") // users without a path for their mail do not matter here
	for _, a := range everybody {
		// An error about this account is reported when it is backed up.
		// With a link to a directory around dest, a user would keep all others from being backed up.
		if a.refused() {
			continue
		}
		if inside, err := backup.Inside(dest, a.root); err == nil && inside {
			return fmt.Errorf("%s lies in the Maildir of %s (%s): give a directory outside of all Maildirs", dest, a.name, a.root)
		}
	}
	return nil
}

func backupOne(ctx context.Context, cmd *cobra.Command, a account, dest string, locker *dotlock.Locker) error {
	if strings.Contains(a.name, "/") || strings.HasPrefix(a.name, ".") {
		return fmt.Errorf("no snapshot of %s: its name cannot be that of a directory", printable(a.name))
	}
	bar := newProgress(cmd.ErrOrStderr(), a.name, "messages")
	defer bar.end()
	r, err := backup.Take(ctx, backup.Options{
		Root: a.root, Dest: filepath.Join(dest, a.name), Locker: locker, Accept: a.accept, Progress: bar.update,
	})
	bar.end()
	if errors.Is(err, backup.ErrNoMaildir) {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: no mail yet (there is no %s)\n", a.name, a.root)
		return nil
	}
	if err != nil {
		return fmt.Errorf("no snapshot of %s: %w", a.name, printableError{err})
	}
	for _, note := range r.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", a.name, printable(note))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s in %s (%d linked, %d copied, %d cloned, %d as in the previous snapshot), locks held at most %v\n%s\n",
		a.name, many(r.Messages, "message"), many(r.Folders, "folder"), r.Linked, r.Copied, r.Shared, r.Earlier, r.LongestLock.Round(100*time.Microsecond), r.Path)
	if r.Unread {
		return fmt.Errorf("the snapshot of %s lacks files that cannot be read", a.name)
	}
	return nil
}
