package smtp

import (
	"crypto/tls"
	"crypto/x509"
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
	"maildird/server/sasl"
	"maildird/server/servertest"
)

// authClient is a simple SMTP client.
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

// authServer is a submission server for Alice, whose password is "secret", with SCRAM and the
// tokens of an issuer. Logins require TLS.
type authServer struct {
	*testServer
	t      *testing.T
	pool   *x509.CertPool
	issuer *oauthtest.Issuer
	users  *auth.Users
	path   string // of the users file
	hash   string // of her password
}

func startAuthServer(t *testing.T) *authServer {
	t.Helper()
	s := &authServer{t: t, issuer: oauthtest.New(t), path: filepath.Join(t.TempDir(), "users")}
	var err error
	if s.hash, err = auth.HashPassword("SCRAM-SHA-256", "secret"); err != nil {
		t.Fatal(err)
	}
	s.writeUser("")
	if s.users, err = auth.OpenUsers(s.path, []string{"example.org"}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	tokens, err := oauth.New(oauth.Config{Issuer: s.issuer.URL, Audience: "mail", JWKS: s.issuer.URL + "/jwks", UsernameClaim: "email"})
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := servertest.Certificate(t)
	s.pool = pool
	s.testServer = startServer(t, Submission, withTLS(cert), func(cfg *Config) {
		cfg.Users, cfg.Logins, cfg.PlaintextFrom = s.users, sasl.Logins{Passwords: s.users, Users: s.users, Tokens: tokens}, nil
	})
	return s
}

// writeUser writes the users file, with one extra field for Alice or none.
func (s *authServer) writeUser(extra string) {
	s.t.Helper()
	if err := os.WriteFile(s.path, []byte("alice@example.org:"+s.hash+"::::::"+extra+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// dial connects and starts TLS.
func (s *authServer) dial() (*authClient, tls.ConnectionState) {
	t := s.t
	t.Helper()
	plain, err := net.Dial("tcp", s.addr)
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
	conn := tls.Client(plain, &tls.Config{RootCAs: s.pool, ServerName: "127.0.0.1"})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn = textproto.NewConn(conn)
	c.say("EHLO client.example.org", "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN")
	return c, conn.ConnectionState()
}

// scram logs in as Alice with SCRAM-SHA-256 and returns the text of the last reply. With plus,
// the login is bound to TLS.
func (s *authServer) scram(password string, plus bool) string {
	t := s.t
	t.Helper()
	c, state := s.dial()
	client, err := scram.SHA256.NewClient("alice@example.org", password, "")
	if err != nil {
		t.Fatal(err)
	}
	mechanism, conv := "SCRAM-SHA-256", client.NewConversation()
	if plus {
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			t.Fatal(err)
		}
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

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestAuthWithoutPassword logs in to submission with SCRAM and with tokens.
func TestAuthWithoutPassword(t *testing.T) {
	s := startAuthServer(t)
	for _, plus := range []bool{false, true} {
		if got := s.scram("secret", plus); !strings.Contains(got, "succeeded") {
			t.Errorf("plus %t: %s", plus, got)
		}
	}
	if got := s.scram("wrong", false); !strings.Contains(got, "Authentication failed") {
		t.Error(got)
	}

	good := s.issuer.Token(s.issuer.Claims("alice@example.org"))
	c, _ := s.dial()
	c.say("AUTH OAUTHBEARER "+encode("n,,\x01auth=Bearer "+good+"x\x01\x01"), encode(`{"status":"invalid_token"}`))
	c.say("AQ==", "5.7.8 Authentication failed")
	c.say("AUTH OAUTHBEARER "+encode("n,a=bob@example.org,\x01auth=Bearer "+good+"\x01\x01"), "Acting for another user")
	c.say("AUTH OAUTHBEARER "+encode("n,a=alice@example.org,\x01auth=Bearer "+good+"\x01\x01"), "2.7.0")
	c, _ = s.dial()
	c.say("AUTH XOAUTH2", "")
	c.say(encode("user=alice@example.org\x01auth=Bearer "+good+"\x01\x01"), "2.7.0")
	c.say("MAIL FROM:<alice@example.org>", "2.1.0")

	// The users file restricts the addresses, and this one is not allowed.
	s.writeUser("allow_nets=192.0.2.0/24")
	if err := s.users.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := s.scram("secret", false); !strings.Contains(got, "5.7.8 Authentication failed") {
		t.Error(got)
	}
	c, _ = s.dial()
	c.say("AUTH OAUTHBEARER "+encode("n,,\x01auth=Bearer "+good+"\x01\x01"), "5.7.8 Authentication failed")
	c.say("AUTH PLAIN "+encode("\x00alice@example.org\x00secret"), "5.7.8 Authentication failed")
}

// TestLongChallenge: a challenge may be much longer than other replies (RFC 4954 section 4): it
// repeats what the client chose.
func TestLongChallenge(t *testing.T) {
	c, _ := startAuthServer(t).dial()
	nonce := strings.Repeat("n", 5000)
	text, err := base64.StdEncoding.DecodeString(c.say("AUTH SCRAM-SHA-256 "+encode("n,,n=alice@example.org,r="+nonce), ""))
	if err != nil || !strings.HasPrefix(string(text), "r="+nonce) || !strings.HasSuffix(string(text), ",i=100000") {
		t.Errorf("challenge %.20s, %v", text, err)
	}
	c.say("*", "5.7.0")
}

// TestLongResponse: a response that is too long has a code of its own (RFC 4954 section 6), also
// as part of the command.
func TestLongResponse(t *testing.T) {
	c, _ := startAuthServer(t).dial()
	long := strings.Repeat("A", maxAuthLine)
	for _, line := range []string{"AUTH PLAIN " + long[len("AUTH PLAIN "):], "AUTH PLAIN " + long, "auth plain " + long + long} {
		c.say(line, "5.5.6 Response is too long")
	}
	c.say("AUTH PLAIN", "")
	c.say(long, "5.5.6 Response is too long")
	c.say("NOOP "+long[:maxCommand], "5.5.2 Line too long")
}

// TestCancelledFailures: a client that cancels an exchange which has already failed has failed to
// log in all the same.
func TestCancelledFailures(t *testing.T) {
	c, _ := startAuthServer(t).dial()
	for range maxFailedLogins {
		c.say("AUTH OAUTHBEARER "+encode("n,,\x01auth=Bearer x\x01\x01"), encode(`{"status":"invalid_token"}`))
		c.say("*", "5.7.0 Authentication was cancelled")
	}
	if _, text, err := c.ReadResponse(421); err != nil || text != "4.7.0 Too many failed logins" {
		t.Errorf("%q, %v", text, err)
	}
}
