package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/server/config"
)

const passwordHelp = "The password is asked for without echo, or read from standard input\n" +
	"as one line if that is not a terminal."

func userCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "user",
		Short: "Add, change, remove and list users",
		Long:  "Add, change, remove and list users. A running server sees changes within two seconds.",
	})
	cmd.AddCommand(
		changeUser("add", "Add a user", "Added", true, auth.Add),
		changeUser("passwd", "Change a user's password", "Changed the password of", true, auth.SetPassword),
		changeUser("remove", "Remove a user, but keep the mail", "Removed", false,
			func(path string, domains []string, name, _ string) error { return auth.Remove(path, domains, name) }),
		listUsers())
	return cmd
}

func changeUser(verb, short, done string, wantsPassword bool, change func(path string, domains []string, name, password string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " --config FILE ADDRESS",
		Short: short,
		Args:  one("ADDRESS"),
	}
	if wantsPassword {
		cmd.Long = short + ". " + passwordHelp
	}
	path := configFlag(cmd)
	if verb != "add" {
		cmd.ValidArgsFunction = completeUser(path)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		name := args[0]
		if i := strings.LastIndexByte(name, '@'); i >= 0 && verb == "add" && !hasDomain(cfg.Domains, name[i+1:]) {
			return fmt.Errorf("%q is not in a domain of this server (%s)", name, strings.Join(cfg.Domains, ", "))
		}
		// Nobody should choose a password in vain.
		switch listed, err := auth.Listed(cfg.Auth.Users, cfg.Domains, name); {
		case err != nil:
			return err
		case listed && verb == "add":
			return fmt.Errorf("%s: %w; \"user passwd\" changes the password", name, auth.ErrExists)
		case !listed && verb != "add":
			return fmt.Errorf("%s: %w; \"user list\" lists the users", name, auth.ErrNotFound)
		}
		password := ""
		if wantsPassword {
			if password, err = readPassword(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		mail := mailOf(cfg, name) // his line may name his home directory
		if err := change(cfg.Auth.Users, cfg.Domains, name, password); err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s %s.\n", done, name)
		switch {
		case mail == "":
		case verb == "add":
			fmt.Fprintf(out, "There is already a Maildir in %s, whose mail this user will see.\n", mail)
		case verb == "remove":
			fmt.Fprintf(out, "The mail stays in %s: whoever gets that directory next will see it.\n", mail)
		}
		noteMail(out, cfg, name)
		return nil
	}
	return cmd
}

// mailOf returns the Maildir of a user, who need not exist; "" if it is empty, or in an unknown
// place.
func mailOf(cfg *config.Config, name string) string {
	users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.DiscardHandler))
	if err != nil {
		return ""
	}
	name = auth.Fold(name)
	if !strings.Contains(name, "@") {
		name += "@" + cfg.Domains[0]
	}
	user, _ := users.Lookup(name)
	root, err := cfg.Mail.Location.Expand(name, user.Home)
	if err != nil {
		return ""
	}
	if files, err := os.ReadDir(root); err != nil || len(files) == 0 {
		return ""
	}
	return root
}

// noteMail prints which mail has no recipient: that for a user whose line was just changed, for
// postmaster, and for aliases.
func noteMail(out io.Writer, cfg *config.Config, changed string) {
	users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.DiscardHandler))
	if err != nil {
		return
	}
	if users.LeftOut(changed) {
		fmt.Fprintf(out, "The line of %s in %s cannot be used yet: \"config check\" says why.\n", changed, cfg.Auth.Users)
	}
	if _, ok := users.Lookup(cfg.Postmaster); !ok {
		fmt.Fprintf(out, "Mail for postmaster goes to %s, who is not a user: add that user too, or set postmaster in %s.\n",
			cfg.Postmaster, cfg.Path)
	}
	alias, err := aliases.Open(cfg.Auth.Aliases, cfg.Domains, users, cfg.Postmaster, slog.New(slog.DiscardHandler))
	if err != nil {
		return
	}
	for _, p := range alias.Problems() {
		fmt.Fprintln(out, p)
	}
}

func hasDomain(domains []string, domain string) bool {
	for _, d := range domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

func listUsers() *cobra.Command {
	cmd := &cobra.Command{Use: "list --config FILE", Short: "List the users", Args: atMost(0)}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		unusable, noLogin, err := users.Problems()
		if err != nil {
			return err
		}
		for _, p := range unusable {
			fmt.Fprintln(cmd.ErrOrStderr(), "skipped:", p)
		}
		for _, p := range noLogin {
			fmt.Fprintln(cmd.ErrOrStderr(), p)
		}
		for _, u := range users.All() {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), u.Name); err != nil {
				return err // a script must not take some of the users for all of them
			}
		}
		return nil
	}
	return cmd
}

// completeUser completes ADDRESS for the shell.
func completeUser(path *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		cfg, err := config.Load(*path)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, u := range users.All() {
			names = append(names, u.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// readPassword asks twice on a terminal, and otherwise reads a line.
func readPassword(in io.Reader, out io.Writer) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		first, err := prompt(f, out, "Password: ")
		if err != nil {
			return "", err
		}
		again, err := prompt(f, out, "Again: ")
		if err != nil {
			return "", err
		}
		if first != again {
			return "", errors.New("the two passwords differ")
		}
		return first, nil
	}
	line, err := bufio.NewReader(io.LimitReader(in, auth.MaxPassword+2)).ReadString('\n')
	if err != nil && (err != io.EOF || line == "") {
		return "", errors.New("no password on standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// prompt reads a line without echo. An interrupt restores the echo of the terminal
// and ends the program.
func prompt(f *os.File, out io.Writer, text string) (string, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	interrupt, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupt)
	defer close(done)
	go func() {
		select {
		case <-interrupt:
			_ = term.Restore(fd, before)
			fmt.Fprintln(out)
			os.Exit(130)
		case <-done:
		}
	}()
	fmt.Fprint(out, text)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(out)
	return string(b), err
}
