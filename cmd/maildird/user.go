package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"maildird/auth"
	"maildird/server/config"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Change and list the users",
		Long: "Change and list the users in the users file. A running server sees changes within a\n" +
			"second. Passwords are asked for without echo, or read as one line of standard input\n" +
			"where that is not a terminal.",
	}
	cmd.AddCommand(
		changeUser("add", "Add a user", true, auth.Add),
		changeUser("passwd", "Change a user's password", true, auth.SetPassword),
		changeUser("remove", "Remove a user; the mail stays", false,
			func(path string, domains []string, name, _ string) error { return auth.Remove(path, domains, name) }),
		listUsers())
	return cmd
}

func changeUser(verb, short string, wantsPassword bool, change func(path string, domains []string, name, password string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " --config FILE ADDRESS",
		Short: short,
		Args:  cobra.ExactArgs(1),
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		name := args[0]
		if i := strings.LastIndexByte(name, '@'); i >= 0 && !hasDomain(cfg.Domains, name[i+1:]) {
			return fmt.Errorf("%s is in none of the domains of this server (%s)", name, strings.Join(cfg.Domains, ", "))
		}
		password := ""
		if wantsPassword {
			if password, err = readPassword(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		return change(cfg.Auth.Users, cfg.Domains, name, password)
	}
	return cmd
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
	cmd := &cobra.Command{Use: "list --config FILE", Short: "List the users", Args: cobra.NoArgs}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		users, err := auth.OpenUsers(cfg.Auth.Users, cfg.Domains, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		if err != nil {
			return err
		}
		for _, u := range users.All() {
			fmt.Fprintln(cmd.OutOrStdout(), u.Name)
		}
		return nil
	}
	return cmd
}

// readPassword asks twice on a terminal and reads one line otherwise.
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

func prompt(f *os.File, out io.Writer, text string) (string, error) {
	fmt.Fprint(out, text)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(out)
	return string(b), err
}
