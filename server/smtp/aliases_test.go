package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir/delivery"
)

// TestAliasOfAFaultyMailbox: either all users that an alias leads to get the message, or none.
// Other recipients in the same transaction are not affected.
func TestAliasOfAFaultyMailbox(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		t.Run(kind.String(), func(t *testing.T) {
			ts := startServer(t, kind, withAliases(t, "both alice, bob\nothers bob, carol"), func(c *Config) {
				open := c.Open
				c.Open = func(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
					if u.Name == "alice@example.org" {
						return delivery.Dirs{}, nil, errors.New("a fault of the disk")
					}
					return open(ctx, u)
				}
			})
			c := ts.hello()
			c.begin("both@example.org")
			c.say("Subject: x\r\n.", "451")
			if n := len(ts.mail("bob")); n != 0 {
				t.Errorf("bob has %d messages", n)
			}
			c.begin("both@example.org", "carol@example.org", "others@example.org")
			if kind == MX {
				c.say("Subject: x\r\n.", "451")
			} else {
				c.say("Subject: x\r\n.", "451")
				c.expect("250")
				c.expect("250")
			}
			want := map[Kind]int{MX: 0, LMTP: 1}[kind]
			if b, ca := len(ts.mail("bob")), len(ts.mail("carol")); b != want || ca != want {
				t.Errorf("bob has %d messages and carol %d, want %d", b, ca, want)
			}
			stored := "to=\"bob@example.org carol@example.org\" orig_to=others@example.org message_id"
			if log := ts.log.String(); strings.Count(log, "message cannot be stored") != 2 || strings.Count(log, "message stored") != want || strings.Count(log, stored) != want {
				t.Errorf("log:\n%s", log)
			}
			ts.noTemp()
		})
	}
}

// TestAliasCopiesAreBounded: the number of copies of a message is limited, except for those
// of a single alias.
func TestAliasCopiesAreBounded(t *testing.T) {
	var file, names strings.Builder
	for _, group := range []string{"a", "b"} {
		names.WriteString(group)
		for i := range aliases.MaxUsers {
			fmt.Fprintf(&file, "%s%d:{PLAIN}x\n", group, i)
			fmt.Fprintf(&names, "\n  %s%d,", group, i)
		}
		names.WriteByte('\n')
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	ts := startServer(t, MX, func(c *Config) {
		users, err := auth.OpenUsers(path, c.Domains, c.Log)
		if err != nil {
			t.Fatal(err)
		}
		c.Users = users
		c.Room = func(context.Context, auth.User, int64, int) error { asked.Add(1); return nil }
	}, withAliases(t, names.String()+"twelve a1, a2, b1\n"))
	c := ts.hello()
	for range 2 {
		c.say("MAIL FROM:<s@client.example>", "250")
		c.say("RCPT TO:<a@example.org>", "250")
		c.say("RCPT TO:<a@example.org>", "250") // they have their copies
		c.say("RCPT TO:<a+x@example.org>", "250")
		c.say("RCPT TO:<a7@example.org>", "250")
		c.say("RCPT TO:<b@example.org>", "452 4.5.3")
		c.say("RCPT TO:<twelve@example.org>", "452 4.5.3")
		c.say("RCPT TO:<b7@example.org>", "452 4.5.3")
		c.say("RSET", "250")
	}
	if n := asked.Load(); n != 2*aliases.MaxUsers {
		t.Errorf("%d mailboxes were looked at", n)
	}
	c.say("MAIL FROM:<s@client.example>", "250")
	c.say("RCPT TO:<a7@example.org>", "250")
	c.say("RCPT TO:<a@example.org>", "250")
	c.say("RCPT TO:<b@example.org>", "452 4.5.3")
}

// TestManyAuthors: the cost of the addresses in a submitted message is limited.
func TestManyAuthors(t *testing.T) {
	ts := startServer(t, Submission, withAliases(t, "info alice, bob"))
	c := ts.hello()
	c.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235")
	for n, reply := range map[int]string{maxAuthors: "250", maxAuthors + 1: "553 5.7.1"} {
		c.say("MAIL FROM:<info@example.org>", "250")
		c.say("RCPT TO:<bob@example.org>", "250")
		c.say("DATA", "354")
		c.say("From: "+strings.Repeat("info@example.org, ", n-1)+"alice@example.org\r\n.", reply)
	}
}

// TestAnotherUsersAddressIsNoSender: a user who gets copies of another user's mail cannot
// send as that user.
func TestAnotherUsersAddressIsNoSender(t *testing.T) {
	ts := startServer(t, Submission, withAliases(t, "bob@example.org bob, alice\nalice@example.org alice, bob\n@m\u00fcller.example @example.org\nteam bob"))
	c := ts.submit()
	for from, code := range map[string]string{
		"bob@example.org": "553", "bob+x@example.org": "553", "bob@m\u00fcller.example": "553",
		"alice@example.org": "250", "alice+x@example.org": "250", "alice@m\u00fcller.example": "250", "team@example.org": "250",
	} {
		c.say("MAIL FROM:<"+from+"> SMTPUTF8", code)
		c.say("RSET", "250")
	}
	c.recipients("carol@example.org")
	c.say("DATA", "354")
	c.say("From: bob@example.org\r\n.", "553")
}

// TestSenderWithoutDomain: the domain that is appended to a sender is checked, too. An alias in
// one domain is not an alias in another.
func TestSenderWithoutDomain(t *testing.T) {
	ts := startServer(t, Submission, withAliases(t, "info@example.org erika@m\u00fcller.example\ninfo@m\u00fcller.example alice\nboth alice, erika@m\u00fcller.example"))
	for _, one := range []struct{ user, sender, reply string }{
		{"erika@m\u00fcller.example", "info", "553 5.7.1"},
		{"erika@m\u00fcller.example", "info@example.org", "250"},
		{"erika@m\u00fcller.example", "both", "250"},
		{"erika@m\u00fcller.example", "erika", "250"},
		{"alice@example.org", "info", "553 5.7.1"},
		{"alice@example.org", "both", "250"},
		{"alice@example.org", "ALICE+x", "250"},
		{"alice@example.org", "erika", "553 5.7.1"},
	} {
		c := ts.hello()
		c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+one.user+"\x00secret")), "235")
		c.say("MAIL FROM:<"+one.sender+">", one.reply)
	}
	// The header is in ASCII without SMTPUTF8.
	c := ts.hello()
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00erika@m\u00fcller.example\x00secret")), "235")
	c.say("MAIL FROM:<erika>", "250")
	c.say("RCPT TO:<bob>", "250")
	c.say("DATA", "354")
	c.say("From: erika@xn--mller-kva.example\r\n.", "250")
	if got := strings.Join(ts.mail("bob"), ""); !strings.HasPrefix(got, "Return-Path: <erika@xn--mller-kva.example>\n") {
		t.Error(got)
	}
}
