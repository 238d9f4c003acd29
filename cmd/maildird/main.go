// Command maildird is a mail server over plain Maildir files.
//
// Each command is in a file of its name and in the list in root (main.go), from which
// man.go makes the manual page and completion.go the completions. accounts.go finds the
// Maildirs for a command, tools.go its tools; progress.go shows its progress, and args.go
// reports a wrong command line (misuse). journal.go gives lines in the journal their
// priority. The work itself is done by other packages.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func main() {
	if err := root().Execute(); err != nil {
		printError(os.Stderr, os.Getenv("JOURNAL_STREAM"), err)
		os.Exit(exitCode(err))
	}
}

// The exit codes, besides 0: what was asked for did not go well, or was not
// begun, as the command line is wrong.
const (
	exitFailed = 1
	exitMisuse = 2
)

// exitError is an error with another exit code than exitFailed.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var e exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

// root is the tree of all commands. Completions and the manual page are made
// from it.
func root() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "maildird",
		Short: "A mail server over plain Maildir files",
		Long: "maildird accepts mail by SMTP, submission and LMTP, writes it into Maildir folders, and\n" +
			"serves them by IMAP. mutt, mbsync, rsync and Dovecot can work on the same files.",
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: required,
	})
	cmd.SetVersionTemplate("maildird {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 { // the flag is one of a command that is not there
			return noCommand(cmd, args[0])
		}
		return misuse(cmd, "%w", err)
	})
	cmd.AddCommand(initCommand(), userCommand(), serveCommand(), configCommand(), backupCommand(), restoreCommand(), checkCommand(),
		demoCommand(),
		versionCommand(), manCommand(), completionCommand())
	cmd.CompletionOptions.DisableDefaultCmd = true
	plainUsage(cmd)
	return cmd
}

// group makes a command that only holds others: an unknown one is an error and
// none at all shows the help.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// noCommand is the error for a command that a group does not have.
func noCommand(group *cobra.Command, name string) error {
	return exitError{fmt.Errorf("unknown command %q; \"%s --help\" lists the commands", group.CommandPath()+" "+name, group.CommandPath()), exitMisuse}
}

// plainUsage keeps "[flags]" out of usage lines, which name their flags.
func plainUsage(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  atMost(0),
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "maildird", version())
		},
	}
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if v == "" || v == "(devel)" {
		v = "devel"
		if rev := settings["vcs.revision"]; len(rev) >= 12 {
			v += " " + rev[:12]
			if settings["vcs.modified"] == "true" {
				v += " with changes"
			}
		}
	}
	return v + " " + info.GoVersion
}
