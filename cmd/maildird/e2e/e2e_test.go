// Package e2e runs the real maildird, built with the race detector, with real clients, which
// scripts/test-tools installs. A test fails if its client is missing.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"maildird/scripts/rig"
)

const (
	alice    = "alice@example.org"
	bob      = "bob@example.org"
	password = "correct horse"
	// patience is how long anything may take on a slow, busy machine.
	patience = 4 * time.Minute
)

// binary is the path of maildird.
var binary string

func TestMain(m *testing.M) {
	os.Exit(rig.Main(m, &binary, true))
}

// tool returns the path of a program that the test requires.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; scripts/test-tools installs it: %v", name, err)
	}
	return path
}

// prepare prepares a server for alice and bob, and does not start it. edits are pairs of a text
// in maildird.toml and its replacement. Passwords are stored in plain text: a good hash takes
// seconds under the race detector.
func prepare(edits ...string) (*rig.Maildird, error) {
	m, err := rig.InitMaildird(binary, nil, append(edits, "postmaster@example.org", alice)...)
	if err != nil {
		return nil, err
	}
	users := fmt.Sprintf("%s:{PLAIN}%s\n%s:{PLAIN}%s\n", alice, password, bob, password)
	return m, os.WriteFile(filepath.Join(m.Dir, "users"), []byte(users), 0o600)
}

// setUp prepares a server for alice and bob that ends with the test, and does not start it.
func setUp(t testing.TB, edits ...string) *rig.Maildird {
	t.Helper()
	m, err := prepare(edits...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if log := m.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			t.Errorf("maildird logged:\n%s", log)
		}
	})
	return m
}

// start starts a server for alice and bob that ends with the test.
func start(t testing.TB, edits ...string) *rig.Maildird {
	t.Helper()
	m := setUp(t, edits...)
	run(t, m)
	return m
}

func run(t testing.TB, m *rig.Maildird) {
	t.Helper()
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// trusting returns the TLS settings of a client that trusts the server's certificate.
func trusting(t testing.TB, m *rig.Maildird) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(m.Dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("cert.pem holds no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: "mail.example.org"}
}

// login connects go-imap's client and logs in.
func login(t testing.TB, m *rig.Maildird, user string, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	if options == nil {
		options = &imapclient.Options{}
	}
	options.TLSConfig = trusting(t, m)
	c, err := imapclient.DialStartTLS(m.Address("imap"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// command runs a client as the servers' user and returns its output.
func command(t testing.TB, m *rig.Maildird, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool(t, name), args...)
	rig.Prepare(cmd, m.Dir)
	cmd.Dir = m.Dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually waits until check returns no error.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// mailIn returns the files of a folder, new/ before cur/, by name.
func mailIn(t testing.TB, m *rig.Maildird, user, folder string) (files map[string][]byte) {
	t.Helper()
	eventually(t, func() error { // names may change in the meantime
		files = map[string][]byte{}
		for _, sub := range []string{"new", "cur"} {
			dir := filepath.Join(m.Home(user), folder, sub)
			entries, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					return err
				}
				files[e.Name()] = text
			}
		}
		return nil
	})
	return files
}

// find returns the file of the message with that subject.
func find(t testing.TB, m *rig.Maildird, user, subject string) (name string, text []byte) {
	t.Helper()
	eventually(t, func() error { // a listing may miss a name while the directory changes
		for name, text = range mailIn(t, m, user, "") {
			if bytes.Contains(text, []byte("\nSubject: "+subject+"\n")) {
				return nil
			}
		}
		return fmt.Errorf("%s has no message %q", user, subject)
	})
	return name, text
}

// dial opens a raw connection that ends with the test.
func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}
