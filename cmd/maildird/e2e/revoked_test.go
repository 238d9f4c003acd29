package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestRevoked: sessions of users who may no longer log in are ended without waiting for a
// command, whatever the operator changed, and no others are.
func TestRevoked(t *testing.T) {
	t.Parallel()
	line := func(user, rest string) string { return fmt.Sprintf("%s:{PLAIN}%s%s\n", user, password, rest) }
	for what, text := range map[string]string{
		"removed":  "",
		"nologin":  line(alice, "::::::nologin"),
		"password": alice + ":{PLAIN}another\n",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := start(t)
			write := func(text string) { // like an editor that renames
				t.Helper()
				users := filepath.Join(m.Dir, "users")
				if err := os.WriteFile(users+".new", []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(users+".new", users); err != nil {
					t.Fatal(err)
				}
			}
			idle := func(user string) *speaker {
				s := speak(t, m, "imap", "* OK")
				s.say(fmt.Sprintf("a LOGIN %s %q\r\n", user, password), "a OK")
				s.say("b SELECT INBOX\r\n", "b OK")
				s.say("c IDLE\r\n", "+")
				return s
			}
			reader, other := idle(alice), idle(bob)
			sender := speak(t, m, "submission", "220 ")
			sender.say("EHLO x\r\n", "250 ")
			sender.say(authPlain(alice), "235 ")
			sender.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", alice), "250 ")
			sender.say(fmt.Sprintf("RCPT TO:<%s>\r\n", bob), "250 ")
			sender.say("DATA\r\n", "354 ")
			write(text + line(bob, "::::::userdb_quota_rule=*:storage=1G"))
			reader.say("", "* BYE Your account has changed")
			sender.say("", "421 4.7.0 Your account has changed")
			other.say("DONE\r\n", "c OK")
		})
	}
}
