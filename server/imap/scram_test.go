package imap

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/xdg-go/scram"

	"maildird/auth"
	"maildird/maildir"
	"maildird/server/servertest"
)

// scramUsers are the users of test servers, with keys for SCRAM.
type scramUsers struct {
	keys  scram.StoredCredentials
	ready atomic.Bool
	// away makes the users file unavailable, so that nobody can log in.
	away atomic.Bool
}

func (u *scramUsers) SCRAMReady() bool                     { return u.ready.Load() }
func (u *scramUsers) SCRAM(string) scram.StoredCredentials { return u.keys }
func (u *scramUsers) Lookup(name string) (auth.User, bool) {
	return auth.User{Name: name + "@example.org"}, name == "alice"
}

func (u *scramUsers) Allowed(netip.Addr, string) error {
	if u.away.Load() {
		return auth.ErrNotAllowed
	}
	return nil
}

func (u *scramUsers) Admit(netip.Addr, string) error             { return nil }
func (u *scramUsers) Failed(context.Context, netip.Addr, string) {}
func (u *scramUsers) Succeeded(netip.Addr, string)               {}

func newSCRAMUsers(t *testing.T) *scramUsers {
	t.Helper()
	maker, err := scram.SHA256.NewClient("", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := maker.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	u := &scramUsers{keys: keys}
	u.ready.Store(true)
	return u
}

// scramLogin logs in with an exchange of the client library, and returns the tagged
// response without the tag.
func (c *testClient) scramLogin(mechanism string, conv *scram.ClientConversation) string {
	c.t.Helper()
	message, err := conv.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.send("s AUTHENTICATE " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(message)) + "\r\n")
	for {
		line := c.line()
		challenge, ok := strings.CutPrefix(line, "+ ")
		if !ok {
			return strings.TrimPrefix(line, "s ")
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		if message, err = conv.Step(string(text)); err != nil {
			c.t.Fatal(err)
		}
		c.send(base64.StdEncoding.EncodeToString([]byte(message)) + "\r\n")
	}
}

func TestAuthenticateSCRAM(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	users := newSCRAMUsers(t)
	ts := startServer(t, withTLS(cert), func(cfg *Config, _ *maildir.AccountOptions) {
		cfg.Logins.Users, cfg.PlaintextFrom = users, nil
	})
	client := func(password string) *scram.Client {
		t.Helper()
		c, err := scram.SHA256.NewClient("alice", password, "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// It needs no TLS, since the password is not revealed.
	c := ts.dial()
	greeting := c.line()
	if !strings.Contains(greeting, "AUTH=SCRAM-SHA-256 ") || strings.Contains(greeting, "PLUS") || !strings.Contains(greeting, "LOGINDISABLED") {
		t.Error(greeting)
	}
	if got := c.scramLogin("SCRAM-SHA-256", client("wrong").NewConversation()); !strings.HasPrefix(got, "NO [AUTHENTICATIONFAILED]") {
		t.Error(got)
	}
	if got := c.scramLogin("SCRAM-SHA-256", client("secret").NewConversation()); !strings.HasPrefix(got, "OK ") {
		t.Error(got)
	}

	c = ts.dial()
	c.line()
	c.fails("AUTHENTICATE SCRAM-SHA-256-PLUS", "NO [CANNOT]")
	c.ok("STARTTLS")
	conn := tls.Client(c.conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	if caps := c.ok("CAPABILITY"); !strings.Contains(caps[0], "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 ") {
		t.Error(caps)
	}
	state := conn.ConnectionState()
	binding, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.scramLogin("SCRAM-SHA-256", client("secret").NewConversationAdvertisingChannelBinding()); !strings.HasPrefix(got, "NO [AUTHENTICATIONFAILED]") {
		t.Error("a client that was deceived about the mechanisms logged in:", got)
	}
	if got := c.scramLogin("SCRAM-SHA-256-PLUS", client("secret").NewConversationWithChannelBinding(binding)); !strings.HasPrefix(got, "OK ") {
		t.Error(got)
	}
	if lines := ts.log.String(); strings.Count(lines, "login failed") != 2 || !strings.Contains(lines, "method=SCRAM-SHA-256 user=alice") {
		t.Error(lines)
	}

	users.away.Store(true)
	c = ts.dial()
	c.line()
	if got := c.scramLogin("SCRAM-SHA-256", client("secret").NewConversation()); !strings.HasPrefix(got, "NO [AUTHENTICATIONFAILED]") {
		t.Error(got)
	}
	if lines := ts.log.String(); strings.Count(lines, "login failed") != 3 || !strings.Contains(lines, "allow_nets") {
		t.Error(lines)
	}

	users.ready.Store(false)
	c = ts.dial()
	if greeting := c.line(); strings.Contains(greeting, "SCRAM") {
		t.Error(greeting)
	}
	c.fails("AUTHENTICATE SCRAM-SHA-256", "NO [CANNOT]")
}

// TestNothingToBindTo: if no keying material can be exported, as with TLS 1.2 without the
// extended master secret, no mechanism that needs it is announced.
func TestNothingToBindTo(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	users := newSCRAMUsers(t)
	ts := startServer(t, withTLS(cert), func(cfg *Config, _ *maildir.AccountOptions) {
		cfg.Logins.Users = users
		cfg.TLS.Renegotiation = tls.RenegotiateOnceAsClient // crypto/tls exports nothing then
	})
	c := ts.dial()
	c.line()
	c.ok("STARTTLS")
	conn := tls.Client(c.conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	if caps := c.ok("CAPABILITY"); strings.Contains(caps[0], "PLUS") || !strings.Contains(caps[0], "AUTH=SCRAM-SHA-256 ") {
		t.Error(caps)
	}
	c.fails("AUTHENTICATE SCRAM-SHA-256-PLUS", "NO [CANNOT]")
	client, err := scram.SHA256.NewClient("alice", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.scramLogin("SCRAM-SHA-256", client.NewConversationAdvertisingChannelBinding()); !strings.HasPrefix(got, "OK ") {
		t.Error(got)
	}
}
