package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/scripts/mailgen"
)

// TestSeenFromCache: a FETCH that sets \Seen returns several messages from the cache before
// their new flags, each with its own text.
func TestSeenFromCache(t *testing.T) {
	ts := startServerOn(t, t.TempDir(), t.TempDir())
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	const n = 70
	for i := range n {
		path := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("%d.M%dP1.h:2,", 1_700_000_000+i, i))
		if err := os.WriteFile(path, mailgen.Message(i), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, mailgen.Date(i)); err != nil {
			t.Fatal(err)
		}
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	c.octets("FETCH 1:* BODY.PEEK[HEADER]") // fills the cache
	headers := c.octets("FETCH 1:* (BODY.PEEK[HEADER] FLAGS)")
	if strings.Contains(headers, `\Seen`) {
		t.Fatal(`a message is \Seen`)
	}
	want := strings.ReplaceAll(headers, "FLAGS (\\Recent)", "FLAGS ()")
	want = strings.ReplaceAll(want, "FLAGS ()", `FLAGS (\Seen)`)
	got := strings.ReplaceAll(c.octets("FETCH 1:* (BODY[HEADER] FLAGS)"), ` \Recent`, "")
	if got != want {
		t.Error(firstOther(got, want))
	}
}
