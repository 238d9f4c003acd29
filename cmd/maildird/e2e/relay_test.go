package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maildird/scripts/rig"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

const friend = "friend@there.example"

// relayTo returns the edits of maildird.toml for a relay.
func relayTo(url string) []string {
	return []string{"# [relay]  ", "[relay]\nserver = \"" + url + "\"\n#"}
}

// postfix starts a Postfix that ends with the test.
func postfix(t *testing.T, opt rig.PostfixOptions) *rig.Postfix {
	t.Helper()
	p, err := rig.StartPostfix(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(p.Log)
			t.Logf("Postfix logged:\n%s", log)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := rig.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// bracketed returns an address in the syntax of a Postfix transport.
func bracketed(address string) string {
	host, port, _ := net.SplitHostPort(address)
	return "[" + host + "]:" + port
}

// submit sends a message from alice with swaks.
func submit(t *testing.T, m *rig.Maildird, subject string, to ...string) (string, error) {
	t.Helper()
	return command(t, m, "", "swaks", "--server", m.Address("submission"), "--tls", "--auth-user", alice, "--auth-password", password,
		"--from", alice, "--to", strings.Join(to, ","), "--header", "Subject: "+subject, "--header", "To: "+friend, "--body", ".dot\nGr\u00fc\u00dfe")
}

// TestRelay: mail that users submit for other domains goes out through the Postfix on the same
// machine, set up as described in README, and mail from that Postfix comes in.
func TestRelay(t *testing.T) {
	for _, name := range []string{"swaks", "msmtp", "curl"} {
		tool(t, name)
	}
	t.Parallel()
	lmtp := freeAddress(t)
	dead := (&relaytest.Server{Answers: map[string]string{"RCPT": "550 5.1.1 nobody is there"}}).Start(t)
	p := postfix(t, rig.PostfixOptions{Mailboxes: []string{friend}, Main: "transport_maps = inline:{ example.org=lmtp:inet:" +
		lmtp + ", dead.example=smtp:" + bracketed(dead.Address) + " }"})
	m := start(t, append(relayTo("smtp://"+p.SMTP), `["127.0.0.1:0", "unix:lmtp.sock"]`, `["`+lmtp+`"]`)...)
	if out, err := m.Run("", "config", "check", "--config", m.Config); err != nil {
		t.Errorf("config check: %v\n%s", err, out)
	}

	if out, err := submit(t, m, "both", friend, bob); err != nil || !strings.Contains(out, "Relayed as") {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	find(t, m, bob, "both")
	var text string
	eventually(t, func() error {
		files, _ := filepath.Glob(filepath.Join(p.Dir, "mail/there.example/friend/new/*"))
		if len(files) != 1 {
			return fmt.Errorf("the friend has %d messages", len(files))
		}
		b, err := os.ReadFile(files[0])
		text = string(b)
		return err
	})
	for _, want := range []string{"\nSubject: both\n", "\n\n.dot\nGr\u00fc\u00dfe\n", "Return-Path: <" + alice + ">\n", "\n\tby mail.example.org (maildird) with ESMTPSA id "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in what the friend got:\n%s", want, text)
		}
	}
	if strings.Contains(text, bob) {
		t.Errorf("the friend reads of others:\n%s", text)
	}
	queued := regexp.MustCompile(`msg="message relayed".* to=` + friend + ` .*reply="2\.0\.0 Ok: queued as ([0-9A-Za-z]+)"`).FindStringSubmatch(m.Log())
	log, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	if queued == nil || !strings.Contains(string(log), queued[1]+": to=<"+friend+">") {
		t.Errorf("Postfix's name for the message is %q:\n%s\n%s", queued, m.Log(), log)
	}

	// Other programs, with and without TLS.
	host, port, err := net.SplitHostPort(m.Address("submissions"))
	if err != nil {
		t.Fatal(err)
	}
	letter := filepath.Join(m.Dir, "letter")
	if err := os.WriteFile(letter, []byte("From: "+alice+"\nTo: "+friend+"\nSubject: more\n\ntext\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"msmtp": {"--host=" + host, "--port=" + port, "--tls=on", "--tls-starttls=off", "--tls-certcheck=off", "--auth=on", "--user=" + alice,
			"--passwordeval=echo " + password, "--from=" + alice, friend},
		"curl": {"-sS", "--user", alice + ":" + password, "--mail-from", alice, "--mail-rcpt", friend, "-T", letter, "smtp://" + m.Address("submission")},
	} {
		if out, err := command(t, m, "From: "+alice+"\nSubject: more\n\ntext\n", name, args...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	eventually(t, func() error {
		files, _ := filepath.Glob(filepath.Join(p.Dir, "mail/there.example/friend/new/*"))
		if len(files) != 3 {
			return fmt.Errorf("the friend has %d messages", len(files))
		}
		return nil
	})

	// It refuses unknown recipients at once, and other recipients are not affected.
	if out, err := submit(t, m, "partly", "nobody@there.example", bob); !strings.Contains(out, "<~* 550 5.1.1 <nobody@there.example>: Recipient address rejected") &&
		!strings.Contains(out, "<** 550 5.1.1 <nobody@there.example>: Recipient address rejected") {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	find(t, m, bob, "partly")

	// A later failure results in a bounce.
	if out, err := submit(t, m, "in vain", "anybody@dead.example"); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	_, bounce := find(t, m, alice, "Undelivered Mail Returned to Sender")
	if !strings.Contains(string(bounce), "nobody is there") || !strings.HasPrefix(string(bounce), "Return-Path: <>\n") {
		t.Errorf("alice got:\n%s", bounce)
	}

	// The relay is down: no mail is accepted.
	if err := p.Stop(patience); err != nil && !strings.Contains(err.Error(), "signal") {
		t.Fatal(err)
	}
	out, err := submit(t, m, "too late", friend)
	if err == nil || !strings.Contains(out, "451 4.4.1") {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	if !regexp.MustCompile(`level=ERROR msg="relay cannot be used".* error="relay [0-9.:]+: .*connection refused" advice="make sure that the relay is running`).MatchString(m.Log()) {
		t.Error(m.Log())
	}
	if out, err := m.Run("", "config", "check", "--config", m.Config); err != nil || !strings.Contains(out, "warning: relay "+p.SMTP+": ") || !strings.Contains(out, "; make sure that") {
		t.Errorf("config check: %v\n%s", err, out)
	}
}

// keyPair writes a self-signed certificate and its key, for Postfix.
func keyPair(t *testing.T) (file string) {
	t.Helper()
	cert, _ := servertest.Certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	file = filepath.Join(t.TempDir(), "pair.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRelayInFront: the Postfix that delivers mail by LMTP is also the relay. It offers
// STARTTLS, with a certificate that does not matter on the same machine.
func TestRelayInFront(t *testing.T) {
	tool(t, "swaks")
	t.Parallel()
	lmtp := freeAddress(t)
	there := (&relaytest.Server{}).Start(t) // the outside world
	p := postfix(t, rig.PostfixOptions{Mailboxes: []string{alice, bob}, LMTP: lmtp, Main: "transport_maps = inline:{ there.example=smtp:" + bracketed(there.Address) + " }\n" +
		"smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, reject_unverified_recipient\nunverified_recipient_reject_code = 550\n" +
		"smtpd_tls_security_level = may\nsmtpd_tls_loglevel = 1\nsmtpd_tls_chain_files = " + keyPair(t)})
	m := start(t, append(relayTo("smtp://"+p.SMTP), `["127.0.0.1:0", "unix:lmtp.sock"]`, `["`+lmtp+`"]`)...)
	if out, err := submit(t, m, "out", friend); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	eventually(t, func() error {
		if got := there.Messages(); len(got) != 1 || !strings.Contains(got[0], "\r\nSubject: out\r\n") {
			return fmt.Errorf("outside there are %q", got)
		}
		return nil
	})
	if log, err := os.ReadFile(p.Log); err != nil || !strings.Contains(string(log), "TLS connection established from unknown[127.0.0.1]: TLSv1.3") {
		t.Errorf("Postfix saw no TLS: %v\n%s", err, log)
	}
	if out, err := command(t, m, "", "swaks", "--server", p.SMTP, "--from", friend, "--to", bob, "--header", "Subject: in"); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	find(t, m, bob, "in")
}
