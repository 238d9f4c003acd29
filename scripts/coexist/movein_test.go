package coexist

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// TestMoveIn: what README, Moving mail in, tells people to run writes a Maildir from which
// maildird serves what Dovecot served from its own formats.
func TestMoveIn(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	_, section, _ := strings.Cut(string(text), "\n## Moving mail in\n")
	section, _, _ = strings.Cut(section, "\n## ")
	commands := regexp.MustCompile(`(?m)^    (doveadm .*)$`).FindAllStringSubmatch(section, -1)
	settings := regexp.MustCompile(`(?m)(?:^    [a-z}].*\n|^      .*\n){5,}`).FindString(section)
	if len(commands) != 3 || settings == "" {
		t.Fatalf("README shows the commands %q and the settings %q", commands, settings)
	}
	box, mbox, imap := commands[0][1], commands[1][1], commands[2][1]
	for _, c := range []struct{ name, location, command string }{
		{"mdbox", "mdbox:~/mdbox", box},
		{"sdbox", "sdbox:~/sdbox", box},
		{"mbox", "mbox:~/mail:INBOX=~/inbox", mbox},
		{"imap", "mdbox:~/mdbox", imap},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := newSite(t, Options{})
			dovecot, err := rig.StartDovecot(context.Background(), rig.DovecotOptions{
				Accounts: []rig.Account{site.Account}, Extra: "mail_location = " + c.location + "\n",
			})
			must(t, err)
			t.Cleanup(func() { _ = dovecot.Close() })
			old := &Server{Name: "Dovecot", IMAP: dovecot.IMAP, Account: site.Account, log: dovecot.Log}
			home := filepath.Join(dovecot.Dir, "mail/example.org/alice")
			config := filepath.Join(dovecot.Dir, "dovecot.conf")
			if c.command == imap {
				host, port, err := net.SplitHostPort(dovecot.IMAP)
				must(t, err)
				edited := settings
				for setting, value := range map[string]string{
					"imapc_host": host, "imapc_port": port, "imapc_ssl": "no",
					"imapc_user": site.Account.Address, "imapc_password": site.Account.Password,
				} {
					line := regexp.MustCompile(setting + " = .*")
					if !line.MatchString(edited) {
						t.Fatalf("the settings in README lack %s:\n%s", setting, edited)
					}
					edited = line.ReplaceAllLiteralString(edited, setting+" = "+value)
				}
				config = filepath.Join(dovecot.Dir, "old.conf")
				// Dovecot refuses system users with low numbers, which may own the mail here.
				must(t, os.WriteFile(config, []byte(edited+"first_valid_uid = 0\nfirst_valid_gid = 0\n"), 0o644))
			}
			move := func() {
				t.Helper()
				command := strings.Replace(c.command, "INBOX=/var/mail/%n", "INBOX=~/inbox", 1)
				command = strings.Replace(command, " -c old.conf", "", 1)
				cmd := exec.Command("sh", "-c", strings.Replace(command, "doveadm ", "doveadm -c "+config+" ", 1))
				rig.Prepare(cmd, home)
				cmd.Dir = home
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", cmd, err, out)
				}
			}

			client := dial(t, old)
			for _, name := range []string{"INBOX", "Work/2025/Gr&APwA3w-e"} {
				fill(t, client, name)
			}
			_, err = old.ReadFrom(false) // new mail is no longer recent
			must(t, err)
			move()
			// A second run brings what has changed.
			for _, command := range []string{"SELECT INBOX", `UID STORE 1 FLAGS (\Flagged Later)`, `UID STORE 4 +FLAGS (\Deleted)`, "EXPUNGE"} {
				_, err := client.Do("%s", command)
				must(t, err)
			}
			add(t, client, "INBOX", 7)
			_, err = client.Do("UNSELECT")
			must(t, err)
			before, err := old.ReadFrom(true)
			must(t, err)
			move()

			must(t, os.MkdirAll(filepath.Dir(site.Root), 0o700))
			must(t, os.Rename(filepath.Join(home, "moved"), site.Root))
			must(t, site.Own())
			after, err := startMaildird(t, site, 0).ReadFrom(true)
			must(t, err)
			if c.command != imap { // a level without a mailbox has become one
				for _, name := range before.NoSelect {
					if f, ok := after.Folders[name]; !ok || len(f.Messages) > 0 {
						t.Errorf("%s has become %+v", name, f)
					}
					delete(after.Folders, name)
				}
				before.NoSelect = nil
			}
			if c.command == mbox {
				for name, f := range before.Folders { // an empty file has no place for UIDVALIDITY
					if now := after.Folders[name]; len(f.Messages) == 0 && f.UIDNext == 1 {
						f.UIDValidity = now.UIDValidity
						before.Folders[name] = f
					}
				}
			}
			must(t, Differences("Dovecot", before, "maildird", after, What{Dates: true, Subscribe: true}))
			if inbox := after.Folders["INBOX"]; len(inbox.Messages) != 4 || inbox.UIDNext != 8 || len(after.Subscribed) != 6 {
				t.Errorf("not everything is there: %+v, subscriptions %q", inbox, after.Subscribed)
			}
		})
	}
}

// fill makes a mailbox with the UIDs 1, 3, 4 and 5, where 2 and 6 were removed, and with three
// keywords.
func fill(t *testing.T, c *Client, name string) {
	t.Helper()
	if name != "INBOX" {
		_, err := c.Do("CREATE %s", name)
		must(t, err)
		_, err = c.Do("SUBSCRIBE %s", name)
		must(t, err)
	}
	for n := range 6 {
		add(t, c, name, n+1)
	}
	for _, command := range []string{
		"SELECT " + name, `STORE 1 FLAGS (\Seen $Label1 Work)`, `STORE 3 FLAGS (\Flagged \Answered)`, "STORE 4 FLAGS (Later $Label1)",
		`STORE 5 FLAGS (\Draft)`, `STORE 2,6 FLAGS (\Deleted)`, "EXPUNGE", "UNSELECT",
	} {
		_, err := c.Do("%s", command)
		must(t, err)
	}
}

// add saves a message that, like a draft and the mail that it became, has the Message-ID and the
// Date of others, and can be told from them by its size.
func add(t *testing.T, c *Client, name string, n int) {
	t.Helper()
	text := "Message-ID: <same@example.org>\r\nDate: Wed, 1 Jan 2020 00:00:00 +0000\r\nSubject: " + strings.Repeat("x", n) + "\r\n\r\ntext\r\n"
	_, err := c.Do("APPEND %s \"0%d-Feb-2020 10:00:00 +0200\" {%d+}\r\n%s", name, n, len(text), text)
	must(t, err)
}
