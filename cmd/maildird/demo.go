package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"maildird/auth"
	"maildird/server"
	"maildird/server/config"
)

// The server of "maildird demo".
const (
	demoDomain = "example.org"
	demoHost   = "mail.example.org"
	// demoPasswords is the file in which the demo keeps the passwords that it prints.
	demoPasswords = "passwords"
)

func demoUsers() []string { return []string{"alice@" + demoDomain, "bob@" + demoDomain} }

func demoCommand() *cobra.Command {
	var freePorts bool
	cmd := &cobra.Command{
		Use:   "demo DIR [--free-ports]",
		Short: "Run a server to try out, with two users and some mail",
		Long: "On first use, set up a server in DIR for example.org with the users alice and bob and\n" +
			"a message for each. Then serve it on loopback, and print the settings for Thunderbird and\n" +
			"commands for swaks and mutt. DIR is kept from one run to the next.",
		Args: one("DIR"),
	}
	cmd.Flags().BoolVar(&freePorts, "free-ports", false, "on first use: let the system choose the ports")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := args[0]
		file := filepath.Join(dir, "maildird.toml")
		_, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = demoInit(dir, freePorts)
		}
		if err != nil {
			return err
		}
		return serve(cmd.Context(), file, cmd.ErrOrStderr(), func(cfg *config.Config, srv *server.Server) error {
			// If there is no Maildir, nothing was delivered yet: the first start may have
			// failed, for instance because a port was in use.
			home, err := cfg.Mail.Location.Expand(demoUsers()[0], "")
			if err != nil {
				return err
			}
			if _, err := os.Lstat(home); errors.Is(err, fs.ErrNotExist) {
				if err := welcome(srv); err != nil {
					return fmt.Errorf("the welcome message could not be delivered: %w", err)
				}
			}
			return demoPrint(cmd.OutOrStdout(), dir, cfg, srv)
		})
	}
	return cmd
}

// demoInit sets up the server next to dir, and moves it there once it is complete.
func demoInit(dir string, freePorts bool) error {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".maildird-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) // does nothing after the rename
	settings := config.Template(demoHost, demoDomain, demoUsers()[0])
	if freePorts {
		for _, port := range []string{"2525", "2587", "2465", "2143", "2993"} {
			settings = strings.Replace(settings, "127.0.0.1:"+port, "127.0.0.1:0", 1)
		}
	}
	if err := initServer(fresh, settings, demoHost); err != nil {
		return err
	}
	var kept strings.Builder
	for _, name := range demoUsers() {
		password := demoPassword()
		if err := auth.Add(filepath.Join(fresh, "users"), []string{demoDomain}, name, password); err != nil {
			return err
		}
		fmt.Fprintf(&kept, "%s %s\n", name, password)
	}
	if err := writeNew(filepath.Join(fresh, demoPasswords), []byte(kept.String())); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return fmt.Errorf("%s contains something else: give the demo a directory of its own", dir)
		}
		return err
	}
	return nil
}

// demoPassword returns a password of 60 random bits that is easy to copy.
func demoPassword() string {
	s := strings.ToLower(rand.Text())
	return s[:4] + "-" + s[4:8] + "-" + s[8:12]
}

// readDemoPasswords returns the passwords printed on first use, by user.
func readDemoPasswords(dir string) map[string]string {
	text, _ := os.ReadFile(filepath.Join(dir, demoPasswords)) // without it there is nothing to print
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, password, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[name] = password
		}
	}
	return out
}

// demoPrint prints the settings for clients.
func demoPrint(out io.Writer, dir string, cfg *config.Config, srv *server.Server) error {
	alice, bob := demoUsers()[0], demoUsers()[1]
	passwords := readDemoPasswords(dir)
	for _, name := range demoUsers() {
		if passwords[name] == "" {
			passwords[name] = "PASSWORD"
		}
	}
	first := func(service string) (address, port string) {
		if all := srv.Addresses(service); len(all) > 0 {
			return all[0], all[0][strings.LastIndexByte(all[0], ':')+1:]
		}
		return "(not configured)", "(not configured)"
	}
	_, imap := first("imap")
	_, imaps := first("imaps")
	mx, _ := first("smtp")
	submission, port := first("submission")
	_, submissions := first("submissions")
	folder, err := cfg.Mail.Location.Expand(alice, "")
	if err != nil {
		return err
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, folder); err == nil && !strings.HasPrefix(rel, "..") {
			folder = rel
		}
	}
	_, err = fmt.Fprintf(out, demoText, alice, bob, passwords[alice], passwords[bob],
		imap, imaps, port, submissions, mx, submission, shellQuote(passwords[alice]), shellQuote(folder), filepath.Clean(dir))
	return err
}

// demoText has the settings first, then ways to try the server.
const demoText = `
maildird serves example.org on this machine only. Ctrl-C stops it; the mail stays in %[13]s.

In Thunderbird, add an account, choose "Configure manually", and accept the self-signed certificate when asked.

  Email     %-20[1]s  or  %[2]s
  Password  %-20[3]s  or  %[4]s
  Incoming  IMAP  host 127.0.0.1  port %[5]s  STARTTLS  normal password  username: the email address
  Outgoing  SMTP  host 127.0.0.1  port %[7]s  STARTTLS  normal password  username: the email address
  (with SSL/TLS instead of STARTTLS: IMAP port %[6]s, SMTP port %[8]s)

To send alice a message from outside, and bob one from alice, as a mail program would:

  swaks --server %[9]s --from carol@example.net --to %[1]s --header 'Subject: Hello'
  swaks --server %[10]s --tls-optional --auth-user %[1]s --auth-password %[11]s --from %[1]s --to %[2]s

Alice's mail as files, while the server is running:

  mutt -f %[12]s

`

// shellQuote quotes a word for the shell, if necessary.
func shellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,=", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
