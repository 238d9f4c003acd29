package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestQuota: the limit in maildird.toml applies to all users without their own limit
// in the users file.
func TestQuota(t *testing.T) {
	t.Parallel()
	m := setUp(t, "# quota_messages = 0 ", "quota = \"4KiB\"\nquota_messages = 2 ")
	edit(t, filepath.Join(m.Dir, "users"), bob+":{PLAIN}"+password, bob+":{PLAIN}"+password+"::::::userdb_quota_rule=*:storage=1M")
	run(t, m)
	in := speak(t, m, "smtp", "220 ")
	in.say("EHLO x\r\n", "250 ")
	send := func(user, size, reply string) {
		t.Helper()
		in.say("MAIL FROM:<> SIZE="+size+"\r\n", "250 ")
		in.say("RCPT TO:<"+user+">\r\n", reply)
		if reply == "250 " {
			in.say("DATA\r\n", "354 ")
			in.say("Subject: x\r\n\r\nx\r\n.\r\n", "250 ")
		} else {
			in.say("RSET\r\n", "250 ")
		}
	}
	send(alice, "5000", "552 5.2.3") // it will never fit; she has no Maildir yet
	send(alice, "10", "250 ")
	send(alice, "4090", "452 4.2.2")
	send(alice, "5000", "552 5.2.3")
	send(alice, "10", "250 ")
	send(alice, "10", "452 4.2.2") // a third message
	for range 3 {
		send(bob, "5000", "250 ")
	}
	for user, want := range map[string]string{alice: "(STORAGE 1 4 MESSAGE 2 2)", bob: "(STORAGE 1 1024)"} {
		mail := speak(t, m, "imap", "* OK")
		mail.say("a LOGIN "+user+" \""+password+"\"\r\n", "a OK")
		root := mail.say("b GETQUOTAROOT INBOX\r\n", "* QUOTAROOT")
		if quota := mail.say("", "* QUOTA "); !strings.Contains(quota, want) {
			t.Errorf("%s: %s %s, want %s", user, root, quota, want)
		}
	}
}
