package smtp

import (
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"maildird/auth"
	"maildird/server/oauth"
	"maildird/server/oauth/oauthtest"
	"maildird/server/servertest"
)

// authClient speaks SMTP by hand.
type authClient struct {
	t *testing.T
	*textproto.Conn
}

func (c *authClient) say(line, want string) string {
	c.t.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.ReadResponse(0)
	if err != nil {
		c.t.Fatal(err)
	}
	if !strings.Contains(text, want) {
		c.t.Errorf("%.60s: %q, want %q", line, text, want)
	}
	return text
}

// TestAuthWithoutPassword logs in to submission by SCRAM and by tokens.
func TestAuthWithoutPassword(t *testing.T) {
	hash, err := auth.HashPassword("SCRAM-SHA-256", "secret")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice@example.org:"+hash+":::::\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := auth.OpenUsers(path, []string{"example.org"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	issuer := oauthtest.New(t)
	tokens, err := oauth.New(oauth.Config{Issuer: issuer.URL, Audience: "mail", JWKS: issuer.URL + "/jwks", UsernameClaim: "email"})
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := servertest.Certificate(t)
	ts := startServer(t, Submission, withTLS(cert), func(cfg *Config) {
		cfg.Users, cfg.Auth, cfg.SCRAM, cfg.Tokens, cfg.PlaintextFrom = users, users, users, tokens, nil
	})
	dial := func() (*authClient, *tls.Conn) {
		t.Helper()
		plain, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = plain.Close() })
		_ = plain.SetDeadline(time.Now().Add(time.Minute))
		c := &authClient{t, textproto.NewConn(plain)}
		if _, _, err := c.ReadResponse(220); err != nil {
			t.Fatal(err)
		}
		if got := c.say("EHLO client.example.org", "STARTTLS"); strings.Contains(got, "AUTH") {
			t.Error(got)
		}
		_ = c.PrintfLine("STARTTLS")
		if _, _, err := c.ReadResponse(220); err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(plain, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.Conn = textproto.NewConn(conn)
		c.say("EHLO client.example.org", "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN")
		return c, conn
	}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	byPassword := func(password string, plus bool) string {
		t.Helper()
		c, conn := dial()
		client, err := scram.SHA256.NewClient("alice@example.org", password, "")
		if err != nil {
			t.Fatal(err)
		}
		state := conn.ConnectionState()
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			t.Fatal(err)
		}
		mechanism, conv := "SCRAM-SHA-256", client.NewConversation()
		if plus {
			mechanism, conv = "SCRAM-SHA-256-PLUS", client.NewConversationWithChannelBinding(binding)
		}
		message, err := conv.Step("")
		if err != nil {
			t.Fatal(err)
		}
		line := "AUTH " + mechanism + " " + encode(message)
		for {
			_ = c.PrintfLine("%s", line)
			code, text, err := c.ReadResponse(0)
			if err != nil {
				t.Fatal(err)
			}
			if code != 334 {
				return text
			}
			challenge, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if message, err = conv.Step(string(challenge)); err != nil {
				t.Fatal(err)
			}
			line = encode(message)
		}
	}
	for _, plus := range []bool{false, true} {
		if got := byPassword("secret", plus); !strings.Contains(got, "succeeded") {
			t.Errorf("plus %t: %s", plus, got)
		}
	}
	if got := byPassword("wrong", false); !strings.Contains(got, "Authentication failed") {
		t.Error(got)
	}

	good := issuer.Token(issuer.Claims("alice@example.org"))
	c, _ := dial()
	c.say("AUTH OAUTHBEARER "+encode("n,,\x01auth=Bearer "+good+"x\x01\x01"), encode(`{"status":"invalid_token"}`))
	c.say("AQ==", "5.7.8 Authentication failed")
	c.say("AUTH OAUTHBEARER "+encode("n,a=bob@example.org,\x01auth=Bearer "+good+"\x01\x01"), "Acting for another user")
	c.say("AUTH OAUTHBEARER "+encode("n,a=alice@example.org,\x01auth=Bearer "+good+"\x01\x01"), "2.7.0")
	c, _ = dial()
	c.say("AUTH XOAUTH2", "")
	c.say(encode("user=alice@example.org\x01auth=Bearer "+good+"\x01\x01"), "2.7.0")
	c.say("MAIL FROM:<alice@example.org>", "2.1.0")

	// The users file says from where: not from here.
	if err := os.WriteFile(path, []byte("alice@example.org:"+hash+"::::::allow_nets=192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := users.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := byPassword("secret", false); !strings.Contains(got, "5.7.8 Authentication failed") {
		t.Error(got)
	}
	c, _ = dial()
	c.say("AUTH OAUTHBEARER "+encode("n,,\x01auth=Bearer "+good+"\x01\x01"), "5.7.8 Authentication failed")
	c.say("AUTH PLAIN "+encode("\x00alice@example.org\x00secret"), "5.7.8 Authentication failed")
}
