package imap

import (
	"strings"
	"testing"

	"maildird/maildir"
)

func TestInProgress(t *testing.T) {
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Timeouts.Progress = 1 })
	randomThreads(t, ts.root("alice"), 1, 5)
	c := ts.login()
	c.ok("SELECT INBOX")
	lines := strings.Join(c.ok("SEARCH SUBJECT nowhere"), "\n")
	for _, want := range []string{`* OK [INPROGRESS ("t3" 1 5)] Still working.`, `("t3" 4 5)`, "* SEARCH"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, lines)
		}
	}
}
