package dialogue

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// secure starts TLS on a connection.
func (p *player) secure(st step) error {
	c, err := p.conn(st.conn)
	if err != nil {
		return err
	}
	t := tls.Client(c.Conn, p.target.TLS)
	_ = t.SetDeadline(time.Now().Add(p.target.Patience))
	if err := t.Handshake(); err != nil {
		return err
	}
	c.Conn, c.lines = t, bufio.NewReaderSize(t, 1<<20)
	return nil
}

// newMail returns the messages in a directory that no "@mail" has matched yet.
func (p *player) newMail(dir string) []string {
	entries, _ := os.ReadDir(dir) // a missing directory has no mail
	var found []string
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); !p.mails[path] {
			found = append(found, path)
		}
	}
	return found
}

// expectMail compares the only new message in a directory, line by line.
func (p *player) expectMail(dir string, st step) error {
	found := p.newMail(dir)
	if len(found) != 1 {
		return fmt.Errorf("there are %d new messages in %s", len(found), dir)
	}
	p.mails[found[0]] = true
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	p.played = append(p.played, fmt.Sprintf("message: %.4000q", text))
	lines := strings.SplitAfter(string(text), "\n")
	patterns := strings.SplitAfter(st.text, "\n")
	for i, pattern := range patterns {
		if i >= len(lines) || !p.match(unescape(pattern), lines[i]) {
			return fmt.Errorf("line %d of the message: expected %q, got %q", i+1, pattern, lines[min(i, len(lines)-1)])
		}
	}
	if len(lines) > len(patterns) {
		return fmt.Errorf("the message goes on: %q", lines[len(patterns)])
	}
	return nil
}

// unescape replaces "\r" and "\t" in a pattern.
func unescape(s string) string {
	return strings.NewReplacer(`\r`, "\r", `\t`, "\t").Replace(s)
}
