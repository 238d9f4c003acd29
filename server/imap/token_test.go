package imap

import (
	"encoding/base64"
	"strings"
	"testing"

	"maildird/maildir"
	"maildird/server/oauth"
	"maildird/server/oauth/oauthtest"
	"maildird/server/sasl"
)

// TestAuthenticateToken logs in with tokens of a real issuer, with OAUTHBEARER (RFC 7628
// section 4) and XOAUTH2.
func TestAuthenticateToken(t *testing.T) {
	issuer := oauthtest.New(t)
	tokens, err := oauth.New(oauth.Config{
		Issuer: issuer.URL, Audience: "mail", JWKS: issuer.URL + "/jwks", UsernameClaim: "email",
		Hint: sasl.Hint{Scope: "mail", Configuration: "https://id.example.org/.well-known/openid-configuration"},
	})
	if err != nil {
		t.Fatal(err)
	}
	users := newSCRAMUsers(t)
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Logins.Users, cfg.Logins.Tokens = users, tokens })
	good := issuer.Token(issuer.Claims("alice"))
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	bearer := func(name, token string) string {
		if name != "" {
			name = "a=" + name
		}
		return encode("n," + name + ",\x01host=mail.example.org\x01port=143\x01auth=Bearer " + token + "\x01\x01")
	}
	xoauth2 := func(name, token string) string {
		return encode("user=" + name + "\x01auth=Bearer " + token + "\x01\x01")
	}

	c := ts.dial()
	if greeting := c.line(); !strings.Contains(greeting, " AUTH=OAUTHBEARER AUTH=XOAUTH2 ") {
		t.Error(greeting)
	}
	c.send("a AUTHENTICATE OAUTHBEARER " + bearer("alice", good) + "\r\n")
	c.want("a OK ")
	c.ok("LOGOUT")

	c = ts.dial()
	c.line()
	c.send("a AUTHENTICATE XOAUTH2\r\n") // without an initial response
	c.want("+ ")
	c.send(xoauth2("alice", good) + "\r\n")
	c.want("a OK ")

	// The server tells the client the reason, and the client confirms it.
	c = ts.dial()
	c.line()
	c.send("a AUTHENTICATE OAUTHBEARER " + bearer("", good+"x") + "\r\n")
	c.want("+ " + encode(`{"status":"invalid_token","scope":"mail","openid-configuration":"https://id.example.org/.well-known/openid-configuration"}`))
	c.send("AQ==\r\n")
	c.want("a NO [AUTHENTICATIONFAILED]")
	c.send("b AUTHENTICATE XOAUTH2 " + xoauth2("alice", "opaque") + "\r\n")
	c.want("+ " + encode(`{"status":"401","schemes":"Bearer","scope":"mail"}`))
	c.send("\r\n")
	c.want("b NO [AUTHENTICATIONFAILED]")
	c.send("c AUTHENTICATE OAUTHBEARER " + bearer("bob", good) + "\r\n")
	c.want("c NO [AUTHORIZATIONFAILED]")
	c.send("d AUTHENTICATE OAUTHBEARER " + encode("n,,auth") + "\r\n")
	c.want("d BAD ")
	if lines := ts.log.String(); strings.Count(lines, "login failed") != 3 || strings.Contains(lines, good) {
		t.Error(lines)
	}

	// A token is not wrong only because the issuer cannot be reached.
	issuer.SetDown(true)
	asking, err := oauth.New(oauth.Config{Issuer: issuer.URL, Introspection: issuer.URL + "/introspect", ClientID: "maildird", UsernameClaim: "email"})
	if err != nil {
		t.Fatal(err)
	}
	ts = startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Logins.Users, cfg.Logins.Tokens = users, asking })
	c = ts.dial()
	c.line()
	c.send("a AUTHENTICATE OAUTHBEARER " + bearer("", "active~alice") + "\r\n")
	c.want("a NO [UNAVAILABLE]")

	// Without TLS, a token could be read on the wire.
	ts = startServer(t, func(cfg *Config, _ *maildir.AccountOptions) {
		cfg.Logins.Users, cfg.Logins.Tokens, cfg.PlaintextFrom = users, tokens, nil
	})
	c = ts.dial()
	if greeting := c.line(); strings.Contains(greeting, "OAUTH") {
		t.Error(greeting)
	}
	for range 2 {
		c.fails("AUTHENTICATE OAUTHBEARER "+bearer("alice", good), "NO [PRIVACYREQUIRED]")
	}
	if lines := ts.log.String(); strings.Count(lines, "login refused") != 1 || !strings.Contains(lines, `error="passwords are accepted over TLS only"`) {
		t.Error(lines)
	}
}
