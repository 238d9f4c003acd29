package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/server/config"
)

// TestCertificate distinguishes certificates that every client refuses from those
// that may be intentional.
func TestCertificate(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(names []string, ips []net.IP, signer *x509.Certificate) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.org"},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: names, IPAddresses: ips,
		}
		if signer == nil {
			signer = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "R11"}}
	many := make([]string, 12)
	for i := range many {
		many[i] = string(rune('a'+i)) + ".example.net"
	}
	for name, c := range map[string]struct {
		leaf   *x509.Certificate
		behind [][]byte // the rest of the chain
		at     time.Time
		valid  string // result of valid; "" means no problem
		doubts []string
	}{
		"its own":          {leaf: issue([]string{"mail.example.org"}, nil, nil)},
		"wildcard":         {leaf: issue([]string{"*.example.org"}, nil, nil)},
		"chain":            {leaf: issue([]string{"mail.example.org"}, nil, authority), behind: [][]byte{{}}},
		"without chain":    {leaf: issue([]string{"mail.example.org"}, nil, authority), doubts: []string{`clients may not know its issuer, "CN=R11"`}},
		"another name":     {leaf: issue([]string{"imap.example.org"}, nil, nil), doubts: []string{"is for imap.example.org, not for the hostname mail.example.org: "}},
		"an address":       {leaf: issue(nil, []net.IP{net.IPv4(192, 0, 2, 1)}, nil), doubts: []string{"is for 192.0.2.1, not for"}},
		"many names":       {leaf: issue(many, nil, nil), doubts: []string{"is for a.example.net, ", "j.example.net and 2 more, not for"}},
		"soon out of date": {leaf: issue([]string{"mail.example.org"}, nil, nil), at: now.Add(50 * time.Minute), doubts: []string{"only: it seems that nothing renews it"}},
		"no name":          {leaf: issue(nil, nil, nil), valid: "is not for any host (no subjectAltName)"},
		"out of date":      {leaf: issue([]string{"mail.example.org"}, nil, nil), at: now.Add(2 * time.Hour), valid: "expired at "},
		"not yet in date":  {leaf: issue([]string{"mail.example.org"}, nil, nil), at: now.Add(-2 * time.Hour), valid: "is not valid before "},
	} {
		cert := &certificate{}
		cert.files.Cert = "cert.pem"
		cert.current.Store(&tls.Certificate{Certificate: append([][]byte{c.leaf.Raw}, c.behind...), PrivateKey: key, Leaf: c.leaf})
		if c.at.IsZero() {
			c.at = now
		}
		valid := ""
		if err := cert.valid(c.at); err != nil {
			valid = err.Error()
		}
		if (valid != "") != (c.valid != "") || !strings.Contains(valid, c.valid) {
			t.Errorf("%s: valid: %q, want %q", name, valid, c.valid)
		}
		doubts := strings.Join(cert.doubts("mail.example.org", c.at), "\n")
		if (doubts != "") != (len(c.doubts) > 0) {
			t.Errorf("%s: doubts %q, want %q", name, doubts, c.doubts)
		}
		self := c.leaf.Issuer.String() == c.leaf.Subject.String()
		for address, refused := range map[string]bool{"127.0.0.2:993": false, ":993": self} {
			listen := config.Listen{SMTP: []config.Address{{Network: "tcp", Address: ":25"}}, IMAPS: []config.Address{{Network: "tcp", Address: address}}}
			if got := cert.distrusted(listen); (got != "") != refused {
				t.Errorf("%s, listening on %s: %q, want a doubt: %v", name, address, got, refused)
			}
		}
		for _, want := range c.doubts {
			if !strings.Contains(doubts, want) {
				t.Errorf("%s: doubts %q, want %q", name, doubts, want)
			}
		}
	}
	var none *certificate
	if none.valid(now) != nil || none.doubts("mail.example.org", now) != nil || none.distrusted(config.Listen{}) != "" {
		t.Error("a server without TLS has a certificate that is wrong")
	}
}

// TestKeyIsNoFile: a key that is a FIFO is an error, and is not waited for.
func TestKeyIsNoFile(t *testing.T) {
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	if err := syscall.Mkfifo(files.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.Cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCertificate(files); err == nil || !strings.Contains(err.Error(), "key.pem: it is not a regular file") {
		t.Error(err)
	}
}
