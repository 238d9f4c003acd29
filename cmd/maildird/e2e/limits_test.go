package e2e

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"maildird/scripts/rig"
)

// speaker is a raw client.
type speaker struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Reader
}

// speak connects to a service and reads its greeting.
func speak(t testing.TB, m *rig.Maildird, service, greeting string) *speaker {
	t.Helper()
	conn := dial(t, m.Address(service))
	s := &speaker{t, conn, bufio.NewReader(conn)}
	s.say("", greeting)
	return s
}

func (s *speaker) say(text, want string) string {
	s.t.Helper()
	return say(s.t, s.conn, s.lines, text, want)
}

// authPlain returns the SMTP command that logs in.
func authPlain(user string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "\r\n"
}

// TestLimits: the values in [limits] apply to all services together, and a refused client
// is told the reason.
func TestLimits(t *testing.T) {
	t.Parallel()
	m := start(t, "# [limits]", `[limits]
connections_per_ip = 6
connections_per_user = 2
message_size = "4KiB"
recipients = 3
messages_per_hour = 3
recipients_per_hour = 5
`)
	loginAs := func(user string) string { return fmt.Sprintf("a LOGIN %s %q\r\n", user, password) }

	mail := speak(t, m, "imap", "* OK")
	mail.say(loginAs(alice), "a OK")
	send := speak(t, m, "submission", "220 ")
	send.say("EHLO x\r\n", "250 ")
	send.say(authPlain(alice), "235 ")

	// Both services count for the user, and refused logins do not.
	third := speak(t, m, "imap", "* OK")
	third.say(loginAs(alice), "a NO [LIMIT] ")
	fourth := speak(t, m, "submission", "220 ")
	fourth.say("EHLO x\r\n", "250 ")
	fourth.say(authPlain(alice), "454 4.7.0 ")
	fourth.say(authPlain(bob), "235 ")

	// Rates, by user.
	send.say(fmt.Sprintf("MAIL FROM:<%s> SIZE=5000\r\n", alice), "552 5.3.4 ")
	send.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", alice), "250 ")
	for range 3 {
		send.say(fmt.Sprintf("RCPT TO:<%s>\r\n", bob), "250 ")
	}
	send.say(fmt.Sprintf("RCPT TO:<%s>\r\n", bob), "452 4.5.3 ")
	send.say("RSET\r\n", "250 ")
	send.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", alice), "250 ")
	for range 2 {
		send.say(fmt.Sprintf("RCPT TO:<%s>\r\n", bob), "250 ")
	}
	send.say(fmt.Sprintf("RCPT TO:<%s>\r\n", bob), "450 4.7.1 ")
	send.say("RSET\r\n", "250 ")
	send.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", alice), "250 ")
	send.say("RSET\r\n", "250 ")
	send.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", alice), "450 4.7.1 ")
	fourth.say(fmt.Sprintf("MAIL FROM:<%s>\r\n", bob), "250 ")
	mail.say("b APPEND INBOX {5000}\r\n", "b NO [TOOBIG] ")

	// One address, with all services. LMTP is for a relay, which has one address.
	fifth := speak(t, m, "smtp", "220 ")
	speak(t, m, "smtp", "220 ")
	speak(t, m, "smtp", "421 4.7.0 ")
	speak(t, m, "imap", "* BYE [UNAVAILABLE] ")
	for range 8 {
		speak(t, m, "lmtp", "220 ")
	}
	fifth.say("QUIT\r\n", "221 ")
	send.say("QUIT\r\n", "221 ")
	eventually(t, func() error {
		conn, err := net.Dial("tcp", m.Address("imap"))
		if err != nil {
			return err
		}
		defer conn.Close()
		lines := bufio.NewReader(conn)
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
			return fmt.Errorf("greeting %q, %v", line, err)
		}
		// The server counts her submission session until it has ended, a moment
		// after it said so.
		if answer := say(t, conn, lines, loginAs(alice), "a "); !strings.HasPrefix(answer, "a OK") {
			return fmt.Errorf("LOGIN after QUIT of another session: %s", answer)
		}
		return nil
	})
}

// TestTotalLimit: [limits] connections applies to all services together, and a single
// one cannot use all.
func TestTotalLimit(t *testing.T) {
	t.Parallel()
	m := start(t, "# [limits]", "[limits]\nconnections = 8\n")
	for range 6 {
		speak(t, m, "smtp", "220 ")
	}
	speak(t, m, "smtp", "421 4.3.2 ")
	speak(t, m, "lmtp", "220 ")
	speak(t, m, "imap", "* OK")
	speak(t, m, "imap", "* BYE [UNAVAILABLE] ")
	eventually(t, func() error {
		if !strings.Contains(m.Log(), `msg="connection refused" protocol=imap`) {
			return fmt.Errorf("not logged:\n%s", m.Log())
		}
		return nil
	})
}

// TestLimitsInReadme: the table contains the defaults, and every limit of maildird.toml.
func TestLimitsInReadme(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, ok := strings.Cut(string(readme), "\n# [limits]\n")
	if !ok {
		t.Fatal("the README shows no [limits]")
	}
	settings, _, _ = strings.Cut(settings, "\n\n")
	for line := range strings.Lines(settings) {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "# "), "#")
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		row := fmt.Sprintf("| `%s` | %s |", key, strings.ReplaceAll(value, "MiB", " MiB"))
		if !strings.Contains(strings.ReplaceAll(string(readme), ",", ""), row) {
			t.Errorf("the README's table of limits lacks %q", row)
		}
	}
}
