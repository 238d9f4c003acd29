// Command maildird is a mail server over plain Maildir files.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "maildird:", err)
		os.Exit(1)
	}
}

// root is the tree of all commands. Completions and the manual page are made
// from it.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maildird",
		Short: "A mail server over plain Maildir files",
		Long: "maildird takes mail by SMTP, submission and LMTP, writes it into Maildir folders,\n" +
			"and serves them by IMAP, beside mutt, mbsync, rsync and Dovecot on the same files.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(initCommand(), userCommand(), serveCommand(), configCommand(), versionCommand(), manCommand())
	return cmd
}

// configFlag adds --config, which most commands need.
func configFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().StringP("config", "c", "", "path of maildird.toml")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err)
	}
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err)
	}
	return path
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
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

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long:  "Print the manual page of all commands:\n\n    maildird man > maildird.1",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			head := &doc.GenManHeader{Title: "MAILDIRD", Section: "1", Source: "maildird"}
			all := cmd.Root()
			all.DisableAutoGenTag = true
			// One page for all: the root's, then each command's.
			var print func(*cobra.Command) error
			print = func(c *cobra.Command) error {
				if !c.IsAvailableCommand() && c.HasParent() {
					return nil
				}
				if err := doc.GenMan(c, head, cmd.OutOrStdout()); err != nil {
					return err
				}
				for _, sub := range c.Commands() {
					if err := print(sub); err != nil {
						return err
					}
				}
				return nil
			}
			return print(all)
		},
	}
}
