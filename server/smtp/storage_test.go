package smtp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/auth"
	"maildird/maildir/delivery"
)

// TestStorageFailures: whatever goes wrong with the files, the client is told to try again, but
// not what went wrong.
func TestStorageFailures(t *testing.T) {
	var mu sync.Mutex
	var fault func() error
	setFault := func(f func() error) { mu.Lock(); defer mu.Unlock(); fault = f }
	failing := func(c *Config) {
		open := c.Open
		c.Open = func(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
			mu.Lock()
			f := fault
			mu.Unlock()
			if f != nil && u.Name == "alice@example.org" {
				if err := f(); err != nil {
					return delivery.Dirs{}, nil, err
				}
			}
			return open(ctx, u)
		}
	}
	path := func(e syscall.Errno) func() error {
		return func() error { return &os.PathError{Op: "open", Path: "/secret/path", Err: e} }
	}
	for name, c := range map[string]struct {
		fault func() error
		reply string
	}{
		"disk full":  {path(unix.ENOSPC), "452 4.3.1"},
		"quota":      {path(unix.EDQUOT), "452 4.2.2"},
		"i/o":        {path(unix.EIO), "451 4.3.0"},
		"access":     {path(unix.EACCES), "451 4.3.0"},
		"read-only":  {path(unix.EROFS), "451 4.3.0"},
		"many files": {path(unix.EMFILE), "451 4.3.0"},
		"other":      {func() error { return errors.New("surprise at /secret/path") }, "451 4.3.0"},
		"panic":      {func() error { panic("at /secret/path") }, "451 4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			setFault(c.fault)
			mx := startServer(t, MX, failing)
			m := mx.hello()
			// All or none: bob does not get it, either.
			m.begin("bob@example.org", "alice@example.org")
			if reply := m.say("x\r\n.", c.reply); strings.Contains(reply, "secret") {
				t.Error("shows", reply)
			}
			lmtp := startServer(t, LMTP, failing)
			l := lmtp.hello()
			l.begin("bob@example.org", "alice@example.org", "carol@example.org")
			l.say("x\r\n.", "250")
			if reply := l.expect(c.reply); strings.Contains(reply, "secret") {
				t.Error("shows", reply)
			}
			l.expect("250")
			if n := len(mx.mail("bob")) + 10*len(lmtp.mail("bob")) + 100*len(lmtp.mail("carol")); n != 110 {
				t.Error("delivered:", n)
			}
			// The log names the user whose Maildir it is, not the first one, and who did not get the message.
			for ts, want := range map[*testServer]string{mx: `to="bob@example.org alice@example.org" user=alice@example.org `, lmtp: "to=alice@example.org user=alice@example.org "} {
				if got := ts.log.String(); strings.Count(got, `msg="message cannot be stored"`) != 1 || !strings.Contains(got, want) {
					t.Errorf("the log does not contain %s once:\n%s", want, got)
				}
			}
			// The server recovers by itself.
			setFault(nil)
			m.begin("bob@example.org", "alice@example.org")
			m.say("x\r\n.", "250")
			if len(mx.mail("bob")) != 1 || len(mx.mail("alice")) != 1 {
				t.Error("not delivered afterwards")
			}
			mx.noTemp()
			lmtp.noTemp()
		})
	}
}

// TestLargeMessage: a message that no buffer can hold is stored unchanged, for several users.
func TestLargeMessage(t *testing.T) {
	ts := startServer(t, MX)
	var text strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&text, ".line %d of a large message\n\r", i)
	}
	body := "Subject: x\n\n" + text.String()[:text.Len()-1]
	c := ts.hello()
	c.begin("alice@example.org", "bob@example.org")
	c.send(string(stuff([]byte(strings.ReplaceAll(body, "\n", "\r\n")))))
	c.expect("250")
	for _, user := range []string{"alice", "bob"} {
		if got := ts.mail(user); len(got) != 1 || untraced(t, got[0]) != body {
			t.Errorf("%s has something else", user)
		}
	}
}

// TestNoSpaceAtMail: a client that declares the size of a message does not have to
// send it in vain.
func TestNoSpaceAtMail(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) {
		c.Reserve = 1000
		c.FreeSpace = func() (uint64, error) { return 1500, nil }
	})
	c := ts.hello()
	c.say("MAIL FROM:<> SIZE=501", "452 4.3.1")
	c.say("MAIL FROM:<> SIZE=500", "250")
	c.say("RSET", "250")
	c.say("MAIL FROM:<s@client.example> SIZE=501", "452 4.3.1")
	if log := ts.log.String(); strings.Count(log, `msg="message refused"`) != 2 ||
		!strings.Contains(log, `from=s@client.example error="free space is below the reserve: 1500 bytes are free, the reserve is 1000 bytes, and the message has 501"`) {
		t.Errorf("the log has no line of it:\n%s", log)
	}
}

// TestNoSpaceReleases: a mailbox whose file system has no room for the message does not stay open.
func TestNoSpaceReleases(t *testing.T) {
	var isOpen atomic.Int64
	ts := startServer(t, MX, func(c *Config) {
		c.Reserve = 1 << 62
		open := c.Open
		c.Open = func(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
			dirs, release, err := open(ctx, u)
			isOpen.Add(1)
			return dirs, func() { isOpen.Add(-1); release() }, err
		}
	})
	c := ts.hello()
	c.begin("alice@example.org")
	c.say("x\r\n.", "452 4.3.1")
	if n := isOpen.Load(); n != 0 {
		t.Errorf("%d mailboxes are open", n)
	}
}

// TestManyRecipients: each recipient gets a separate file, and with LMTP a separate reply, in
// the order of the RCPT commands. There are only so many for one user.
func TestManyRecipients(t *testing.T) {
	const n = mostToOne
	for _, kind := range []Kind{MX, LMTP} {
		t.Run(kind.String(), func(t *testing.T) {
			ts := startServer(t, kind)
			c := ts.hello()
			var group strings.Builder
			group.WriteString("MAIL FROM:<>\r\n")
			for i := range n {
				fmt.Fprintf(&group, "RCPT TO:<bob+%d@example.org>\r\n", i)
			}
			c.send(group.String() + "RCPT TO:<bob+more@example.org>\r\nRCPT TO:<bob+1@example.org>\r\n")
			for range n + 1 {
				c.expect("250")
			}
			c.expect("452 4.5.3")
			c.expect("250") // he has that copy
			c.send("DATA\r\n")
			c.expect("354")
			c.send("Subject: to many\r\n.\r\n")
			if kind == MX {
				c.expect("250")
			} else {
				for i := range n {
					c.expect(fmt.Sprintf("250 2.1.5 <bob+%d@example.org>", i))
				}
				c.expect("250 2.1.5 <bob+1@example.org>")
			}
			got := ts.mail("bob")
			to := map[string]bool{}
			for _, text := range got {
				_, after, _ := strings.Cut(text, "\nDelivered-To: ")
				address, _, _ := strings.Cut(after, "\n")
				to[address] = true
			}
			if len(got) != n || len(to) != n {
				t.Errorf("%d messages for %d addresses", len(got), len(to))
			}
			c.say("NOOP", "250")
		})
	}
}
