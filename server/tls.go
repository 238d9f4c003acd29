package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"maildird/server/config"
)

// certificate is the server's certificate. It can be reloaded while connections are open.
type certificate struct {
	files   config.TLS
	current atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the files; it returns nil if none are configured.
func loadCertificate(files config.TLS) (*certificate, error) {
	if files.Cert == "" {
		return nil, nil
	}
	c := &certificate{files: files}
	return c, c.reload()
}

// reload rereads the files. After an error the old certificate remains in use.
func (c *certificate) reload() error {
	var pair tls.Certificate
	cert, err := config.ReadFile(c.files.Cert)
	if err == nil {
		var key []byte
		if key, err = config.ReadFile(c.files.Key); err == nil {
			pair, err = tls.X509KeyPair(cert, key)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot use the certificate %s with the key %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.current.Store(&pair)
	return nil
}

// valid returns an error if every client will refuse the certificate, because of its dates or
// because it is for no host. Clients have long ignored common names.
func (c *certificate) valid(now time.Time) error {
	if c == nil {
		return nil
	}
	switch leaf := c.current.Load().Leaf; {
	case leaf == nil:
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate %s expired at %s: clients will refuse it", c.files.Cert, leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate %s is not valid before %s: clients will refuse it", c.files.Cert, leaf.NotBefore.Format(time.RFC3339))
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return fmt.Errorf("the certificate %s is not for any host (no subjectAltName): clients will refuse it", c.files.Cert)
	}
	return nil
}

// distrusted returns a doubt, "" for none, if mail programs on other machines, which find the
// server at listen, refuse the certificate because nobody else has signed it. Other mail servers
// do not, so smtp does not count.
func (c *certificate) distrusted(listen config.Listen) string {
	if c == nil {
		return ""
	}
	leaf := c.current.Load().Leaf
	if leaf == nil || !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return ""
	}
	for _, a := range slices.Concat(listen.Submission, listen.Submissions, listen.IMAP, listen.IMAPS) {
		host, _, _ := net.SplitHostPort(a.Address) // Load has checked it
		if ip, err := netip.ParseAddr(host); !strings.EqualFold(host, "localhost") && (err != nil || !ip.Unmap().IsLoopback()) {
			return fmt.Sprintf("the certificate %s is self-signed, but %s can be reached from other machines: mail programs and phones there will refuse it",
				c.files.Cert, a.Address)
		}
	}
	return ""
}

// overdue is the fraction of its lifetime, one sixth, below which a certificate should have
// been renewed long ago. certbot renews when a third is left.
const overdue = 6

// doubts returns problems that may be intended, but make some clients refuse the certificate,
// or all of them soon.
func (c *certificate) doubts(hostname string, now time.Time) []string {
	if c == nil {
		return nil
	}
	pair := c.current.Load()
	leaf := pair.Leaf
	if leaf == nil {
		return nil
	}
	var out []string
	if left := leaf.NotAfter.Sub(now); left >= 0 && left < leaf.NotAfter.Sub(leaf.NotBefore)/overdue {
		out = append(out, fmt.Sprintf("the certificate %s is good until %s only: it seems that nothing renews it", c.files.Cert, leaf.NotAfter.Format(time.RFC3339)))
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	// Other mail servers use the hostname; clients may be set up with another name.
	if len(names) > 0 && leaf.VerifyHostname(hostname) != nil {
		const most = 10
		list := strings.Join(names[:min(len(names), most)], ", ")
		if len(names) > most {
			list += fmt.Sprintf(" and %d more", len(names)-most)
		}
		out = append(out, fmt.Sprintf("the certificate %s is for %s, not for the hostname %s: clients that are set up with that name will refuse it",
			c.files.Cert, list, hostname))
	}
	// This happens with certbot's cert.pem. Browsers fetch missing certificates,
	// mail programs do not.
	if len(pair.Certificate) == 1 && !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		var unknown x509.UnknownAuthorityError
		if _, err := leaf.Verify(x509.VerifyOptions{}); errors.As(err, &unknown) {
			out = append(out, fmt.Sprintf("the certificate %s is alone in its file, and clients may not know its issuer, %q: append the intermediate certificates, as in certbot's fullchain.pem",
				c.files.Cert, leaf.Issuer))
		}
	}
	return out
}

// config returns the settings for all listeners: TLS 1.2 or later, with Go's
// default cipher suites.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}
