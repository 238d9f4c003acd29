package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"maildird/scripts/rig"
)

// TestHangup: SIGHUP reloads users, certificate and log level, and the connections stay.
func TestHangup(t *testing.T) {
	m := start(t)
	conn := dial(t, m.Address("imap"))
	lines := bufio.NewReader(conn)
	say(t, conn, lines, "", "* OK")
	say(t, conn, lines, fmt.Sprintf("a LOGIN %s %q\r\n", alice, password), "a OK")
	before := serial(t, m)

	hangup := func(want string) {
		t.Helper()
		n := strings.Count(m.Log(), want)
		if err := m.Process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if strings.Count(m.Log(), want) == n {
				return fmt.Errorf("the log lacks %q:\n%s", want, m.Log())
			}
			return nil
		})
	}
	// A new certificate, made by init for another server.
	other, err := rig.InitMaildird(binary, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(other.Dir)
	for _, name := range []string{"cert.pem", "key.pem"} {
		text, err := os.ReadFile(filepath.Join(other.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.Dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, filepath.Join(m.Dir, "users"), "bob@", "robert@")
	hangup("msg=reloaded")
	if after := serial(t, m); after == before {
		t.Error("the certificate is the old one")
	}
	second := dial(t, m.Address("imap"))
	reader := bufio.NewReader(second)
	say(t, second, reader, "", "* OK")
	say(t, second, reader, fmt.Sprintf("a LOGIN robert@example.org %q\r\n", password), "a OK")
	say(t, conn, lines, "b NOOP\r\n", "b OK")

	// A change that needs a restart is reported.
	edit(t, m.Config, `hostname = "mail.example.org"`, `hostname = "other.example.org"`)
	good := strings.Count(m.Log(), "msg=reloaded\n") + 1
	hangup("has changes that require a restart")
	eventually(t, func() error { // the line after that
		if n := strings.Count(m.Log(), "msg=reloaded\n"); n != good {
			return fmt.Errorf("%d reloads, want %d", n, good)
		}
		return nil
	})
	// An invalid file changes nothing that it contains, and prevents no other change; the
	// log says what remains.
	edit(t, m.Config, "[auth]", "[auth]\nusres = 1")
	hangup(`level=ERROR msg="cannot be reloaded and is left as it was: the configuration" error="` + m.Config)
	hangup("usres")
	hangup(`level=WARN msg="reloaded in part" kept="the configuration"`)
	edit(t, filepath.Join(m.Dir, "cert.pem"), "BEGIN", "BEGUN")
	hangup(`level=WARN msg="reloaded in part" kept="the configuration, the certificate"`)
	edit(t, filepath.Join(m.Dir, "cert.pem"), "BEGUN", "BEGIN")
	if n := strings.Count(m.Log(), "msg=reloaded\n"); n != good {
		t.Errorf("a reload with errors counts as one:\n%s", m.Log())
	}
	say(t, conn, lines, "c NOOP\r\n", "c OK")
	edit(t, m.Config, "\nusres = 1", "")
	edit(t, m.Config, `# [log]`, "[log]\nlevel = \"error\"")
	n := strings.Count(m.Log(), "\n")
	if err := m.Process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// At level error, a login is not logged. There is no other way to see when
	// the level has changed.
	eventually(t, func() error {
		n = strings.Count(m.Log(), "\n")
		c := dial(t, m.Address("imap"))
		r := bufio.NewReader(c)
		say(t, c, r, "", "* OK")
		say(t, c, r, fmt.Sprintf("a LOGIN %s %q\r\n", alice, password), "a OK")
		if got := strings.Count(m.Log(), "\n"); got != n {
			return fmt.Errorf("the log still grows:\n%s", m.Log())
		}
		return nil
	})
	say(t, conn, lines, "d NOOP\r\n", "d OK")
}

// serial returns the serial number of the certificate of imaps.
func serial(t *testing.T, m *rig.Maildird) string {
	t.Helper()
	conn := tls.Client(dial(t, m.Address("imaps")), &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
