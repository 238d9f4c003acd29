package advice

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"maildird/server/relay"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

// TestRelay: a problem that prevents the use of a relay is reported in helpful words,
// also by "config check".
func TestRelay(t *testing.T) {
	cert, _ := servertest.Certificate(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	secured := &tls.Config{Certificates: []tls.Certificate{cert}}
	for name, c := range map[string]struct {
		server *relaytest.Server
		cfg    relay.Config
		want   string
	}{
		"login":    {&relaytest.Server{Offers: []string{"AUTH PLAIN"}, Answers: map[string]string{"AUTH": "535 5.7.8 No"}}, relay.Config{User: "u", Password: "p"}, "correct relay.user"},
		"no login": {&relaytest.Server{}, relay.Config{User: "u", Password: "p"}, "correct relay.user"},
		"itself":   {&relaytest.Server{}, relay.Config{Greeting: "relay.example ESMTP"}, "set relay.server to another server"},
		"no TLS":   {&relaytest.Server{}, relay.Config{TLS: true}, "use smtp:// in relay.server"},
		"old TLS":  {&relaytest.Server{Implicit: true, TLS: &tls.Config{Certificates: secured.Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}, relay.Config{TLS: true}, "see in the log of the relay why it ends TLS"},
		"greeting": {&relaytest.Server{Answers: map[string]string{"greeting": "554 No"}}, relay.Config{}, "make sure that the relay is running"},
		"silence":  {&relaytest.Server{Answers: map[string]string{"greeting": relaytest.Silence}}, relay.Config{Timeouts: relay.Timeouts{Open: 50 * time.Millisecond}}, "if relay.server begins with smtp://, that its port"},
		"refused":  {nil, relay.Config{Address: closed.Addr().String()}, "has the right port"},
		"no name":  {nil, relay.Config{Address: "mail.invalid:465"}, "correct the host"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.server != nil {
				c.server.TLS = cmp.Or(c.server.TLS, secured)
				c.cfg.Address = c.server.Start(t).Address
			}
			r, err := relay.New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Check(context.Background())
			if err == nil || !strings.Contains(about(err), c.want) {
				t.Errorf("%v: advice %q, want %q", err, about(err), c.want)
			} else if text := Error(err).Error(); text != err.Error()+"; "+about(err) {
				t.Error(text)
			}
		})
	}
}

// TestRelayCertificate: the advice about a certificate is about what is wrong with it.
func TestRelayCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of      string
		ends    time.Duration
		trusted bool
		want    string
	}{
		"expired":        {"localhost", -time.Hour, true, "the relay needs a new certificate, unless the clock of this machine is wrong"},
		"other name":     {"mail.isp.example", time.Hour, true, "set relay.server to a name in its certificate"},
		"unknown issuer": {"localhost", time.Hour, false, "set relay.ca to a file with the certificate of its issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{c.of}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(c.ends)}
			der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			if c.trusted {
				roots.AddCert(leaf)
			}
			s := (&relaytest.Server{Implicit: true, TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}).Start(t)
			_, port, err := net.SplitHostPort(s.Address)
			if err != nil {
				t.Fatal(err)
			}
			// In this form, it is a host like any other, whose certificate is verified.
			r, err := relay.New(relay.Config{Address: net.JoinHostPort("Localhost", port), TLS: true, Roots: roots})
			if err != nil {
				t.Fatal(err)
			}
			if err = r.Check(context.Background()); err == nil || about(err) != c.want {
				t.Errorf("%v: advice %q, want %q", err, about(err), c.want)
			}
		})
	}
}
