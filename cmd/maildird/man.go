package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maildird/server/config"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long:  "Print the manual page, which consists of the help texts of all commands:\n\n    maildird man > maildird.1",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return manual(cmd.OutOrStdout(), cmd.Root())
		},
	}
}

// manual writes a page for the whole command tree, with the man macros.
func manual(out io.Writer, root *cobra.Command) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`.TH MAILDIRD 1 "" "maildird" "User Commands"`)
	p(".SH NAME")
	p(`maildird \- %s`, roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	p(".SH SYNOPSIS")
	commands := leaves(root)
	for i, c := range commands {
		if i > 0 {
			p(".br")
		}
		p(".B %s", roff(c.UseLine()))
	}
	p(".SH DESCRIPTION")
	p("%s", roff(root.Long))
	p(".SH COMMANDS")
	for _, c := range commands {
		p(".SS %s", roff(c.UseLine()))
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		p("%s", roff(text))
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			p(".TP")
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			p(".B %s", roff(name))
			p("%s", roff(f.Usage))
		})
	}
	p(".SH SIGNALS\n.TP\n.B SIGTERM, SIGINT")
	p("Accept no new connections, finish the deliveries in progress, send IMAP clients BYE, and exit with 0.")
	p(".TP\n.B SIGHUP")
	p("Reread the users, the aliases, the certificate and the log level. Connections stay open.")
	p(".SH CONFIGURATION\n\"maildird init\" writes this file:\n.PP\n.nf")
	p("%s", roff(strings.TrimSpace(config.Template("mail.example.org", "example.org", "alice@example.org"))))
	p(".fi\n.SH EXIT STATUS\n0 on success, 1 on failure, 2 if the command line is wrong, with a message on standard error. \"maildird check\" also exits with 2 if a Maildir could not be checked.")
	_, err := io.WriteString(out, b.String())
	return err
}

// leaves returns the commands without subcommands.
func leaves(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		switch {
		case !c.IsAvailableCommand() || c.Name() == "help":
		case c.HasAvailableSubCommands():
			out = append(out, leaves(c)...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// roff escapes text for roff. Empty lines become paragraphs.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch {
		case line == "":
			lines[i] = ".PP"
		case line[0] == '.':
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
