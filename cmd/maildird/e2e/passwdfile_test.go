package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/auth"
	"maildird/scripts/rig"
)

// passwdFile are lines of a passwd-file, whose names are added, with whether Dovecot lets the user
// log in with the password "pw", and whether it takes mail for him. maildird must do the same,
// except where ours says why it is stricter: "login" refuses the login, "wait" refuses login and
// mail for now.
var passwdFile = []struct {
	line        string
	login, mail bool
	ours        string
}{
	{"{PLAIN}pw", true, true, ""},
	{"{PLAIN}pw:1000:1000::/h::", true, true, ""},
	{"{PLAIN}pw:1000:1000::/h::\r", true, true, ""},
	{"{PLAIN}other", false, true, ""},
	{"", false, true, ""},
	{":1000:1000::/h::", false, true, ""},
	{":1000:1000::/h::nopassword", true, true, "login"}, // with any password
	{"{PLAIN}pw:1000:1000::/h::nopassword", true, true, ""},
	{"!", false, true, ""},
	{"*:1000:1000::/h::", false, true, ""},
	{"{ARGON2ID}x", false, true, ""},
	{"{ROT13}x:1000:1000::/h::", false, true, ""},
	{"{ROT13", false, true, ""},
	{"{SCRAM-SHA-256}x", false, true, ""},
	{"$y$j75$ozEyY8.39GMKmztyyLA/z/$56yrwL8iHNtUGYZX7ARH2An7CxtixdoXF/26R/OWmSD", true, true, ""},
	{"$gy$j75$rdY19ZhqXp7.3jNxNZOxb.$3CU/R3NrS9pAzo0Nyp4pMCuU.D95.i.hca3OiR1r3U0", true, true, "login"},
	{"{PLAIN}pw:1000:1000::/h::nologin", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::nologin=n", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::nologin:protected", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::noauthenticate", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::fail", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::allow_nets=192.0.2.0/24", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::allow_nets=127.0.0.0/8", true, true, ""},
	{"{PLAIN}pw:1000:1000::/h::allow_nets=127.0.0.0/8 allow_nets=192.0.2.0/24", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::allow_nets:protected=192.0.2.0/24", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h::allow_nets=all", false, true, ""},
	{"{PLAIN}pw:1000:1000::/h:nologin:", true, true, "login"}, // a colon is missing
	{"{PLAIN}pw:1000:1000::/h::nodelay k8=x host=192.0.2.1 expired userdb_mail_plugins=acl", true, true, ""},
	{"{PLAIN}pw:1000:1000::/h::userdb_quota_rule=*:storage=1G userdb_quota_rule2=Trash:storage=+100M", true, true, ""},
	{"{PLAIN}pw:1000:1000::/h::proxy host=192.0.2.1", false, true, "wait"},
	{"{PLAIN}pw:1000:1000::/h::userdb_mail:protected=maildir:/elsewhere", true, true, "wait"},
	{"{PLAIN}p:w", false, false, "wait"},
}

// TestPasswdFile: maildird and Dovecot make the same of a passwd-file.
func TestPasswdFile(t *testing.T) {
	ctx := context.Background()
	dovecot, err := rig.StartDovecot(ctx, rig.DovecotOptions{Extra: "auth_cache_size = 0\nauth_failure_delay = 0\n" +
		"service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"})
	must(t, err)
	t.Cleanup(func() { _ = dovecot.Close() })
	path, config := filepath.Join(dovecot.Dir, "users"), filepath.Join(dovecot.Dir, "dovecot.conf")
	var text strings.Builder
	for i, p := range passwdFile {
		fmt.Fprintf(&text, "u%d@example.org:%s\n", i, p.line)
	}
	const second = "{PLAIN}pw:1000:1000::/second::\n" // for a name that has another line already
	fmt.Fprintf(&text, "u3@example.org:%s#u0@example.org:{PLAIN}x\nu5@example.org:%[1]s", second)
	must(t, os.WriteFile(path, []byte(text.String()), 0o644))
	settings, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, fmt.Appendf(settings, "userdb {\n  driver = passwd-file\n  args = %s\n}\n", path), 0o644))
	must(t, dovecot.Restart(ctx))

	users, err := auth.OpenUsers(path, []string{"example.org"}, slog.New(slog.DiscardHandler))
	must(t, err)
	lmtp, err := textproto.Dial("tcp", dovecot.LMTP)
	must(t, err)
	defer lmtp.Close()
	say := func(format string, args ...any) string {
		t.Helper()
		must(t, lmtp.PrintfLine(format, args...))
		_, reply, err := lmtp.ReadResponse(0)
		must(t, err)
		return reply
	}
	_, _, err = lmtp.ReadResponse(220)
	must(t, err)
	say("LHLO there.example")
	say("MAIL FROM:<>")
	for i, p := range passwdFile {
		name := fmt.Sprintf("u%d@example.org", i)
		login := imapLogin(t, dovecot.IMAP, name, "pw")
		if reply := say("RCPT TO:<%s>", name); strings.HasPrefix(login, "OK") != p.login || strings.HasPrefix(reply, "2.1.5") != p.mail {
			t.Errorf("%q: Dovecot's reply to LOGIN: %s; to RCPT: %s; want %v, %v", p.line, login, reply, p.login, p.mail)
		}
		_, ours := users.Authenticate(ctx, netip.MustParseAddr("127.0.0.1"), name, "pw")
		if _, mail := users.Lookup(name); (ours == nil) != (p.login && p.ours == "") || mail != (p.mail && p.ours != "wait") || users.LeftOut(name) != (p.ours == "wait") {
			t.Errorf("%q: maildird's login: %v; mail is taken: %v, or left waiting: %v; want what Dovecot does, or %q", p.line, ours, mail, users.LeftOut(name), p.ours)
		}
	}
}

// imapLogin returns the reply to a login, without its tag.
func imapLogin(t *testing.T, address, name, password string) string {
	t.Helper()
	conn, err := textproto.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, conn.PrintfLine("a LOGIN %s %s", name, password))
	for {
		line, err := conn.ReadLine()
		must(t, err)
		if reply, ok := strings.CutPrefix(line, "a "); ok {
			return reply
		}
	}
}
