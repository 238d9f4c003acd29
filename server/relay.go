package server

import (
	"crypto/x509"
	"fmt"

	"maildird/server/config"
	"maildird/server/relay"
	"maildird/server/smtp"
)

// newRelay returns the client of the smart host, nil if none is configured.
func newRelay(cfg *config.Config) (*relay.Relay, error) {
	r := cfg.Relay
	if r == nil {
		return nil, nil
	}
	out := relay.Config{
		Address: r.Address, TLS: r.TLS, User: r.User, Password: r.Password,
		Hostname: cfg.Hostname, Greeting: smtp.Greeting(smtp.Submission, cfg.Hostname),
	}
	if r.CA != "" {
		pem, err := config.ReadFile(r.CA)
		if err != nil {
			return nil, fmt.Errorf("relay.ca: %w", err)
		}
		if out.Roots = x509.NewCertPool(); !out.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("relay.ca: %s contains no PEM certificate", r.CA)
		}
	}
	client, err := relay.New(out)
	if err != nil {
		return nil, fmt.Errorf("relay.server: %w", err)
	}
	return client, nil
}
