package smtp

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"maildird/auth"
	"maildird/maildir/delivery"
	"maildird/maildir/quota"
)

// TestQuota: a full mailbox refuses its own mail temporarily, and does not affect other
// recipients: at RCPT if the size is known, otherwise after the message, with a separate reply.
func TestQuota(t *testing.T) {
	const most = 2000 // limit of a mailbox
	var room atomic.Int64
	limited := func(c *Config) {
		c.Room = func(_ context.Context, u auth.User, size int64, copies int) error {
			size *= int64(copies)
			if u.Name == "alice@example.org" && size > room.Load() {
				if size > most {
					return quota.ErrNever
				}
				return quota.ErrOver
			}
			return nil
		}
		open := c.Open
		c.Open = func(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
			dirs, release, err := open(ctx, u)
			dirs.Room = func(size int64) error { return c.Room(ctx, u, size, 1) }
			return dirs, release, err
		}
	}
	text := strings.Repeat("x", 100)
	for _, kind := range []Kind{MX, LMTP} {
		t.Run(kind.String(), func(t *testing.T) {
			ts := startServer(t, kind, limited, withAliases(t, "both alice, bob"))
			c := ts.hello()
			room.Store(-1) // the limit is exceeded
			c.say("MAIL FROM:<>", "250")
			c.say("RCPT TO:<alice@example.org>", "452 4.2.2")
			c.say("RCPT TO:<bob@example.org>", "250")
			c.say("DATA", "354")
			c.say("x\r\n.", "250")
			room.Store(50)
			c.say("MAIL FROM:<> SIZE=51", "250")
			c.say("RCPT TO:<alice@example.org>", "452 4.2.2")
			c.say("RSET", "250")
			// The client did not declare the size.
			c.begin("alice@example.org")
			c.say(text+"\r\n.", "452 4.2.2")
			// An alias leads to all its users or to none.
			c.say("MAIL FROM:<> SIZE=51", "250")
			c.say("RCPT TO:<both@example.org>", "452 4.2.2")
			c.say("RSET", "250")
			c.begin("bob@example.org", "alice@example.org")
			if kind == LMTP {
				c.say(text+"\r\n.", "250")
				c.expect("452 4.2.2")
			} else {
				// One reply for both: bob's mail must not be delayed because of alice.
				c.say(text+"\r\n.", "250")
			}
			if b, a := len(ts.mail("bob")), len(ts.mail("alice")); b != 2 || a != map[Kind]int{MX: 1, LMTP: 0}[kind] {
				t.Errorf("%d messages for bob, %d for alice", b, a)
			}
			// A message that is larger than the quota is refused permanently.
			c.say("MAIL FROM:<> SIZE=2001", "250")
			c.say("RCPT TO:<alice@example.org>", "552 5.2.3")
			c.say("RCPT TO:<bob@example.org>", "250")
			c.say("RSET", "250")
			c.begin("alice@example.org")
			c.say(strings.Repeat(text+"\r\n", 25)+".", "552 5.2.3")
			room.Store(1000)
			c.begin("alice@example.org")
			c.say(text+"\r\n.", "250")
			// All copies count, and one of unknown size may be large.
			for declared, accepted := range map[string]int{" SIZE=300": 3, "": 1} {
				c.say("MAIL FROM:<>"+declared, "250")
				for n := range 5 {
					reply := "250"
					if n >= accepted {
						reply = "452 4.5.3"
					}
					c.say(fmt.Sprintf("RCPT TO:<alice+%d@example.org>", n), reply)
				}
				c.say("RCPT TO:<bob@example.org>", "250")
				c.say("RCPT TO:<bob+x@example.org>", "250")
				c.say("RSET", "250")
			}
			// A message may be larger than declared, but not several copies of it without room.
			before := len(ts.mail("alice"))
			for length, fits := range map[int]bool{3: true, 4: false} {
				c.say("MAIL FROM:<> SIZE=100", "250")
				for n := range 3 {
					c.say(fmt.Sprintf("RCPT TO:<alice+%d@example.org>", n), "250")
				}
				c.say("DATA", "354")
				c.send(strings.Repeat(text+"\r\n", length) + ".\r\n")
				switch {
				case kind == LMTP:
					for range 3 { // the folder is asked for each, and tells of what there is
						c.expect("250")
					}
				case fits:
					c.expect("250")
				default:
					c.expect("452 4.2.2")
				}
			}
			if n := len(ts.mail("alice")) - before; n != map[Kind]int{MX: 3, LMTP: 6}[kind] {
				t.Errorf("%d copies were stored", n)
			}
			ts.noTemp()
		})
	}
}
