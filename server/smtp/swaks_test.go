package smtp

import (
	"context"
	"encoding/pem"
	"maildird/server/servertest"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSwaks sends with swaks in all ways that both swaks and the server support.
func TestSwaks(t *testing.T) {
	if _, err := exec.LookPath("swaks"); err != nil {
		t.Fatal("swaks is missing, run scripts/test-tools: ", err)
	}
	cert, _ := servertest.Certificate(t)
	dir, err := os.MkdirTemp("", "swaks") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	mx, lmtp := startServer(t, MX, withTLS(cert)), startServer(t, LMTP)
	submission := startServer(t, Submission, withTLS(cert), func(c *Config) { c.PlaintextFrom = nil })
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	lmtp.listen(socket, false)
	implicit, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	submission.listen(implicit, true)
	user := []string{"--from", "alice@example.org", "--auth-user", "alice@example.org", "--auth-password", "secret"}
	for _, c := range []struct {
		name string
		ts   *testServer
		with string
		args []string
	}{
		{"smtp", mx, "with ESMTP id", []string{"--server", mx.addr}},
		{"starttls", mx, "with ESMTPS id", []string{"--server", mx.addr, "--tls"}},
		{"pipeline", mx, "with ESMTP id", []string{"--server", mx.addr, "--pipeline"}},
		{"helo", mx, "with SMTP id", []string{"--server", mx.addr, "--protocol", "SMTP"}},
		{"plain", submission, "with ESMTPSA id", append(user, "--server", submission.addr, "--tls", "--auth", "PLAIN")},
		{"login", submission, "with ESMTPSA id", append(user, "--server", submission.addr, "--tls", "--auth", "LOGIN")},
		{"implicit tls", submission, "with ESMTPSA id", append(user, "--server", implicit.Addr().String(), "--tls-on-connect", "--auth", "PLAIN")},
		{"lmtp", lmtp, "with LMTP id", []string{"--server", lmtp.addr, "--protocol", "LMTP"}},
		{"lmtp socket", lmtp, "with LMTP id", []string{"--socket", socket.Addr().String(), "--protocol", "LMTP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			args := append([]string{"--to", "bob@example.org,carol@example.org", "--helo", "client.example", "--tls-ca-path", ca,
				"--header", "Subject: " + c.name, "--body", ".a dot\n..\n.\nend\n"}, c.args...)
			if !strings.Contains(strings.Join(args, " "), "--from") {
				args = append(args, "--from", "s@client.example")
			}
			out, err := exec.CommandContext(ctx, "swaks", args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, who := range []string{"bob", "carol"} {
				found := false
				for _, text := range c.ts.mail(who) {
					if strings.Contains(text, "\nSubject: "+c.name+"\n") {
						found = true
						if !strings.Contains(text, c.with) || !strings.Contains(text, "\n\n.a dot\n..\n.\nend\n") {
							t.Errorf("%s got %q", who, text)
						}
					}
				}
				if !found {
					t.Errorf("%s got nothing", who)
				}
			}
		})
	}
}
