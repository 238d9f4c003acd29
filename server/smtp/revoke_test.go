package smtp

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"maildird/auth"
)

// TestRevoked: when the login is revoked, the client gets 421 whatever it is doing, and the
// message that it is sending is dropped.
func TestRevoked(t *testing.T) {
	var revoked atomic.Bool
	ts := startServer(t, Submission, func(c *Config) {
		c.Revoked = func(from netip.Addr, u auth.User) bool {
			return u.Name == "alice@example.org" && from.IsLoopback() && revoked.Load()
		}
	})
	login := func(name string) *client {
		c := ts.hello()
		c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00secret")), "235")
		return c
	}
	began := func() *client {
		c := login("alice")
		c.say("MAIL FROM:<alice@example.org>", "250")
		c.say("RCPT TO:<bob@example.org>", "250")
		return c
	}
	waits, half, data, chunk, between := login("alice"), login("alice"), began(), began(), began()
	half.send("MAIL FRO")
	data.say("DATA", "354")
	data.send("From: alice@example.org\r\nSubject: x\r\n")
	chunk.send("BDAT 100 LAST\r\nFrom: alice@example.org\r\n")
	between.send("BDAT 25\r\nFrom: alice@example.org\r\n")
	between.expect("250")
	other := login("bob")
	ts.Recheck() // nothing is revoked
	waits.say("NOOP", "250")

	revoked.Store(true)
	ts.Recheck()
	for name, c := range map[string]*client{"waits": waits, "half": half, "data": data, "chunk": chunk, "between": between} {
		t.Log(name)
		c.expect("421 4.7.0 Your account has changed")
		c.expectEnd()
	}
	other.say("NOOP", "250")
	// A password that is changed during its verification is no longer valid.
	late := login("alice")
	late.expect("421 4.7.0 ")
	late.expectEnd()
	if got := ts.mail("bob"); len(got) != 0 {
		t.Errorf("delivered: %q", got)
	}
	ts.noTemp()
	if n := strings.Count(ts.log.String(), "msg=\"login revoked\""); n != 6 {
		t.Errorf("%d lines in the log", n)
	}
	if n := strings.Count(ts.log.String(), "msg=\"logged out\""); n != 6 {
		t.Errorf("%d logins ended in the log", n)
	}
}
