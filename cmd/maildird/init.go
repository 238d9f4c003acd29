package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"maildird/server/config"
)

func initCommand() *cobra.Command {
	var domain, hostname, postmaster string
	cmd := &cobra.Command{
		Use:   "init DIR --domain DOMAIN [--hostname NAME] [--postmaster ADDRESS]",
		Short: "Create the configuration of a new server",
		Long: "Write DIR/maildird.toml, an empty users file and a self-signed certificate, which is\n" +
			"for first use only. Existing files are not overwritten.",
		Args: one("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dns, ok := config.DNSName(domain)
			if !ok {
				return misuse(cmd, "--domain: %q is not a domain", domain)
			}
			if hostname == "" {
				hostname = "mail." + dns
			}
			name, ok := config.DNSName(hostname)
			if !ok {
				return misuse(cmd, "--hostname: %q is not a host name", hostname)
			}
			if postmaster == "" {
				postmaster = "postmaster@" + domain
			}
			if at := strings.LastIndexByte(postmaster, '@'); at < 1 || !strings.EqualFold(postmaster[at+1:], domain) {
				return misuse(cmd, "--postmaster: %q is not an address in %s", postmaster, domain)
			}
			if err := initServer(args[0], config.Template(name, domain, postmaster), name); err != nil {
				return err
			}
			file := filepath.Join(args[0], "maildird.toml")
			fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s.\n"+
				"The certificate is self-signed and for first use only: clients will warn about it.\n"+
				"Next: maildird user add --config %[1]s %[2]s\n"+
				"      maildird serve --config %[1]s\n", file, postmaster)
			return nil
		},
	}
	cmd.Flags().StringVar(&domain, "domain", "", "domain to accept mail for")
	cmd.Flags().StringVar(&hostname, "hostname", "", "host name of this server (default mail.DOMAIN)")
	cmd.Flags().StringVar(&postmaster, "postmaster", "", "user who receives mail for postmaster and abuse (default postmaster@DOMAIN)")
	if err := cmd.MarkFlagRequired("domain"); err != nil {
		panic(err)
	}
	return cmd
}

// initServer writes the files of a new server to dir. After an error none of them remains.
func initServer(dir, settings, hostname string) (err error) {
	names := []string{"maildird.toml", "users", "cert.pem", "key.pem"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s already exists and is left unchanged", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := config.CheckText(filepath.Join(dir, names[0]), settings); err != nil {
		return err
	}
	cert, key, err := selfSigned(hostname, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, body := range [][]byte{[]byte(settings), nil, cert, key} {
		path := filepath.Join(dir, names[i])
		if err := writeNew(path, body); err != nil {
			for _, written := range names[:i] {
				err = errors.Join(err, os.Remove(filepath.Join(dir, written)))
			}
			return err
		}
	}
	return nil
}

// writeNew writes a file that must not exist yet, completely or not at all.
func writeNew(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// selfSigned creates a certificate for the host name and for the loopback names of this
// machine. It is valid for a year from now.
func selfSigned(hostname string, now time.Time) (cert, key []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: hostname},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{hostname, "localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
