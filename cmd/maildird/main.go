// Command maildird is a mail server over plain Maildir files.
//
// Each command is in a file of its name, and in the list in root (main.go), from which man.go
// generates the manual page and completion.go the completions. accounts.go finds the Maildirs
// for a command, tools.go provides its tools; progress.go shows its progress, printable.go makes
// what it says of a Maildir fit for a terminal, and args.go reports a wrong command line (misuse).
// journal.go adds priorities to lines in the journal. The actual work is done by other packages.
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

// Exit codes other than 0: the command failed, or was not begun because of a
// wrong command line.
const (
	exitFailed = 1
	exitMisuse = 2
)

// exitError is an error with an exit code other than exitFailed.
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

// root returns the tree of all commands, from which the completions and the
// manual page are generated.
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
		if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 { // the flag belongs to a command that does not exist
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

// group sets up a command that only has subcommands: an unknown one is an error, and without
// one it prints the help.
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

// noCommand returns the error for an unknown subcommand of a group.
func noCommand(group *cobra.Command, name string) error {
	return exitError{fmt.Errorf("unknown command %q; \"%s --help\" lists the commands", group.CommandPath()+" "+name, group.CommandPath()), exitMisuse}
}

// plainUsage removes "[flags]" from usage lines, because they list their flags.
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

// version returns the version of the module, or the commit that it was built from.
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
