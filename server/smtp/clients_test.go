package smtp

import (
	"crypto/tls"
	"maildird/server/servertest"
	"net"
	netsmtp "net/smtp"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const letter = "From: alice@example.org\r\nSubject: x\r\nDate: now\r\nMessage-ID: 1\r\n\r\n.dot\r\n..\r\n.\r\nend\r\n"

var stored = strings.ReplaceAll(letter, "\r\n", "\n")

// TestNetSMTP sends with the client of the standard library, which uses STARTTLS
// and AUTH by itself.
func TestNetSMTP(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	ts := startServer(t, Submission, withTLS(cert), func(c *Config) { c.PlaintextFrom = nil })
	c, err := netsmtp.Dial(ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { return c.StartTLS(&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}) },
		func() error {
			return c.Auth(netsmtp.PlainAuth("", "alice@example.org", "secret", "127.0.0.1"))
		},
		func() error { return c.Mail("alice@example.org") },
		func() error { return c.Rcpt("bob@example.org") },
		func() error {
			w, err := c.Data()
			if err == nil {
				_, err = w.Write([]byte(letter))
			}
			if err == nil {
				err = w.Close()
			}
			return err
		},
		c.Quit,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := ts.mail("bob"); len(got) != 1 || untraced(t, got[0]) != stored {
		t.Errorf("delivered %q", got)
	}
}

// TestGoSMTPClient sends with go-smtp's client: implicit TLS, AUTH LOGIN, SIZE,
// 8BITMIME and SMTPUTF8.
func TestGoSMTPClient(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	ts := startServer(t, Submission, withTLS(cert), func(c *Config) { c.PlaintextFrom = nil })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listen(l, true)
	c, err := smtp.DialTLS(l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"} {
		if ok, _ := c.Extension(name); !ok {
			t.Error("not announced:", name)
		}
	}
	if size, ok := c.MaxMessageSize(); !ok || size != 50<<20 {
		t.Error("SIZE", size, ok)
	}
	if err := c.Auth(sasl.NewLoginClient("alice", "wrong")); !isStatus(err, 535) {
		t.Error("wrong password:", err)
	}
	if err := c.Auth(sasl.NewLoginClient("alice", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("bob@example.org", nil); !isStatus(err, 553) {
		t.Error("sender of another:", err)
	}
	if err := c.Mail("alice@example.org", &smtp.MailOptions{Size: 51 << 20}); !isStatus(err, 552) {
		t.Error("too large:", err)
	}
	if err := c.Mail("alice@example.org", &smtp.MailOptions{Size: int64(len(letter)), Body: smtp.Body8BitMIME, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("bob@example.org", nil); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(letter)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := ts.mail("bob")
	if len(got) != 1 || untraced(t, got[0]) != stored || !strings.Contains(got[0], "with UTF8SMTPSA id") {
		t.Errorf("delivered %q", got)
	}
}

func isStatus(err error, code int) bool {
	e, ok := err.(*smtp.SMTPError)
	return ok && e.Code == code
}

// TestGoSMTPClientLMTP: go-smtp's client gets a status for each recipient.
func TestGoSMTPClientLMTP(t *testing.T) {
	ts := startServer(t, LMTP)
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Mail("", nil); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"alice@example.org", "bob@example.org"} {
		if err := c.Rcpt(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(letter)); err != nil {
		t.Fatal(err)
	}
	status, err := w.CloseWithLMTPResponse()
	if err != nil || len(status) != 2 {
		t.Error(status, err)
	}
	for _, user := range []string{"alice", "bob"} {
		if got := ts.mail(user); len(got) != 1 || untraced(t, got[0]) != stored {
			t.Errorf("%s: %q", user, got)
		}
	}
}
