package imap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStorePartlyDone: a STORE that fails for one message tells the client which others it has
// changed, even if it was to be silent, and UID STORE does not answer OK.
func TestStorePartlyDone(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.deliver(t, "1706933101.M1P1.test:2,", "Subject: one\n\ntext\n")
	ts.deliver(t, "1706933102.M1P1.test:2,", "Subject: two\n\ntext\n")
	ts.deliver(t, "1706933103.M1P1.test:2,", "Subject: three\n\ntext\n")
	// What is no message has the name that the second one would get.
	if err := os.Mkdir(filepath.Join(ts.root("alice"), "cur", "1706933102.M1P1.test:2,F"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := ts.dial()
	c.ok("LOGIN alice secret")
	c.ok("SELECT INBOX")
	untagged, status := c.command(`UID STORE 1:3 +FLAGS.SILENT (\Flagged)`)
	told := strings.Join(untagged, "\n")
	if !strings.HasPrefix(status, "NO [INUSE]") || !strings.Contains(told, `* 1 FETCH (UID 1 FLAGS (\Flagged`) ||
		!strings.Contains(told, `* 3 FETCH (UID 3 FLAGS (\Flagged`) || strings.Contains(told, "* 2 FETCH") {
		t.Errorf("%q, %s", untagged, status)
	}
}
