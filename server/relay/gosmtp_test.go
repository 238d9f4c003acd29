package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"maildird/server/servertest"
)

// backend is the backend of go-smtp's server, which is an independent implementation.
type backend struct {
	mechanisms []string
	got        *bytes.Buffer
	user       string
}

func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) { return b, nil }
func (b *backend) AuthMechanisms() []string                    { return b.mechanisms }

func (b *backend) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "alice" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		b.user = mech
		return nil
	}
	if mech == sasl.Plain {
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	}
	return &loginServer{check: check}, nil
}

// loginServer implements AUTH LOGIN.
type loginServer struct {
	check func(user, password string) error
	said  []string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	if response != nil {
		l.said = append(l.said, string(response))
	}
	if len(l.said) < 2 {
		return []byte([]string{"Username:", "Password:"}[len(l.said)]), false, nil
	}
	return nil, true, l.check(l.said[0], l.said[1])
}

func (b *backend) Mail(string, *smtp.MailOptions) error {
	if b.user == "" {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (b *backend) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (b *backend) Reset()                               {}
func (b *backend) Logout() error                        { return nil }

func (b *backend) Data(r io.Reader) error {
	_, err := io.Copy(b.got, r)
	return err
}

// TestGoSMTP sends to go-smtp's server, with TLS and a login, in all ways.
func TestGoSMTP(t *testing.T) {
	cert, roots := servertest.Certificate(t)
	for _, implicit := range []bool{false, true} {
		for _, mechanism := range []string{sasl.Plain, sasl.Login} {
			b := &backend{mechanisms: []string{"X-OTHER", mechanism}, got: &bytes.Buffer{}}
			server := smtp.NewServer(b)
			server.Domain, server.EnableSMTPUTF8 = "relay.example", true
			server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			at := l.Addr().String()
			if implicit {
				l = tls.NewListener(l, server.TLSConfig)
			}
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(l) }()
			r, err := New(Config{Address: at, TLS: implicit, User: "alice", Password: "secret", Roots: roots, Hostname: "mail.example.org"})
			if err != nil {
				t.Fatal(err)
			}
			r.local = false // so that TLS is required, and the certificate is checked
			text := strings.Repeat(".Gr\u00fc\u00dfe\n", 100_000)
			if _, err := send(r, Mail{From: "alice@example.org", UTF8: true}, text, "jos\u00e9@there.example"); err != nil || b.user != mechanism {
				t.Errorf("implicit %v, %s: %v, logged in by %q", implicit, mechanism, err, b.user)
			}
			if got := strings.ReplaceAll(b.got.String(), "\r\n", "\n"); got != text {
				t.Errorf("implicit %v: the server has %d octets, want %d", implicit, len(got), len(text))
			}
			if err := r.Check(context.Background()); err != nil {
				t.Error(err)
			}
			r.cfg.Password = "wrong"
			if err := r.Check(context.Background()); !errors.Is(err, ErrLogin) {
				t.Errorf("wrong password: %v", err)
			}
			r.cfg.Password, r.cfg.Roots = "secret", nil
			if err := r.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("certificate of nobody: %v", err)
			}
			r.local = true
			if err := r.Check(context.Background()); err != nil {
				t.Errorf("certificate of this machine: %v", err)
			}
			_ = server.Close()
			<-ended
		}
	}
}
