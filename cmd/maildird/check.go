package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"maildird/maildir/check"
	"maildird/server/config"
)

// Exit codes of check other than 0, which means that all is well or was repaired. Anything that
// prevents a check, including a wrong command line, is not a finding.
const (
	exitFindings = exitFailed
	exitNoCheck  = exitMisuse
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check --config FILE [--repair] [ADDRESS]",
		Short: "Check the users' Maildirs, and repair them if asked",
		Long: "Check the Maildirs of all users, or of one, for what makes mail programs stumble: wrong\n" +
			"names and sizes, duplicates, damaged uidlists and keywords, wrong permissions, and what\n" +
			"crashed programs left behind. Each finding is reported on one line. --repair repairs what\n" +
			"it can; it takes the folders' locks, so the server may be running. No mail is ever\n" +
			"deleted: a file that may or may not be mail is moved to the directory maildird-quarantine\n" +
			"in the Maildir, and the line says so.\n" +
			"The exit code is 0 if all is well or was repaired, 1 if something is left to do, 2 if a\n" +
			"Maildir could not be checked or the command line is wrong.",
		Args: atMost(1),
	}
	path := configFlag(cmd)
	repair := cmd.Flags().Bool("repair", false, "repair what can be repaired")
	cmd.ValidArgsFunction = completeUser(path)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		user := ""
		if len(args) > 0 {
			user = args[0]
		}
		cfg, err := config.Load(*path)
		if err != nil {
			return exitError{err, exitNoCheck}
		}
		accounts, skipped := accountsOf(cfg, user)
		with, err := newTools()
		if err != nil {
			return exitError{err, exitNoCheck}
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		left := 0
		err = eachAccount(ctx, accounts, func(a account) error {
			n, err := checkOne(ctx, cmd, cfg, a, *repair, with)
			left += n
			if err != nil {
				return fmt.Errorf("the Maildir of %s could not be checked: %w", a.name, printableError{err})
			}
			return nil
		})
		if err := errors.Join(skipped, err); err != nil {
			return exitError{err, exitNoCheck}
		}
		if left > 0 {
			return exitError{fmt.Errorf("left to do: %s", many(left, "finding")), exitFindings}
		}
		return nil
	}
	return cmd
}

// checkOne checks a Maildir and returns the number of findings that remain.
func checkOne(ctx context.Context, cmd *cobra.Command, cfg *config.Config, a account, repair bool, with tools) (int, error) {
	bar := newProgress(cmd.ErrOrStderr(), a.name, "messages")
	r, err := check.Run(ctx, check.Options{
		Root: a.root, Folder: cfg.Mail.Folder, Repair: repair, Locker: with.locker, Delivery: with.delivery, Accept: a.accept, Progress: bar.update,
		Tell: func(f check.Finding) {
			bar.end()
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", a.name, printable(f.String()))
		},
	})
	bar.end()
	if errors.Is(err, check.ErrNoMaildir) {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: no mail yet (%s is missing or empty)\n", a.name, a.root)
		return 0, nil
	}
	if err != nil {
		return r.Findings - r.Repaired, err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s in %s: %s, %d repaired\n",
		a.name, many(r.Messages, "message"), many(r.Folders, "folder"), many(r.Findings, "finding"), r.Repaired)
	return r.Findings - r.Repaired, nil
}
