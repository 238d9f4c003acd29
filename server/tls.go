package server

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"maildird/server/config"
)

// certificate is the server's certificate, exchanged by reload while
// connections go on.
type certificate struct {
	files   config.TLS
	current atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the files; nil if there are none.
func loadCertificate(files config.TLS) (*certificate, error) {
	if files.Cert == "" {
		return nil, nil
	}
	c := &certificate{files: files}
	return c, c.reload()
}

// reload reads the files again. After an error the old certificate stays.
func (c *certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("cannot use the certificate %s with the key %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.current.Store(&pair)
	return nil
}

// valid tells that clients will refuse the certificate for its dates.
func (c *certificate) valid(now time.Time) error {
	if c == nil {
		return nil
	}
	switch leaf := c.current.Load().Leaf; {
	case leaf == nil:
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate %s was good until %s: clients refuse it", c.files.Cert, leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate %s is good from %s on: clients refuse it", c.files.Cert, leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// covers tells that clients who know the server by this name will refuse the
// certificate, which is for others.
func (c *certificate) covers(hostname string) error {
	if c == nil {
		return nil
	}
	leaf := c.current.Load().Leaf
	if leaf == nil || leaf.VerifyHostname(hostname) == nil {
		return nil
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 10
	list := strings.Join(names[:min(len(names), most)], ", ")
	switch {
	case len(names) == 0: // a common name has not counted for years
		list = "no host at all (no subjectAltName)"
	case len(names) > most:
		list += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Errorf("the certificate %s is for %s, and not for the hostname %s: clients set up with that name refuse it", c.files.Cert, list, hostname)
}

// config is for all listeners: TLS 1.2 or later, with Go's choice of ciphers.
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
