package imap

import (
	"fmt"
	"strings"
	"testing"

	"maildird/maildir/metadata"
)

// TestMetadataModSeq: a change of a mailbox's annotations raises its
// HIGHESTMODSEQ, and that of the account's does not.
func TestMetadataModSeq(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	highest := func() (n uint64) {
		t.Helper()
		line := c.ok("STATUS Sent (HIGHESTMODSEQ)")[0]
		if _, err := fmt.Sscanf(line, `* STATUS "Sent" (HIGHESTMODSEQ %d)`, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return n
	}
	first := highest()
	c.ok(`SETMETADATA "" (/private/comment "x")`)
	if n := highest(); n != first {
		t.Errorf("HIGHESTMODSEQ went from %d to %d", first, n)
	}
	c.ok(`SETMETADATA Sent (/private/comment "x")`)
	if n := highest(); n <= first {
		t.Errorf("HIGHESTMODSEQ stayed at %d", n)
	}
}

// TestMetadataTooMany: what does not fit any more changes nothing.
func TestMetadataTooMany(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	for i := range metadata.MaxEntries {
		c.ok(fmt.Sprintf(`SETMETADATA INBOX (/private/e%d "%d")`, i, i))
	}
	c.fails(`SETMETADATA INBOX (/private/e0 "changed" /private/more "x")`, "NO [METADATA TOOMANY]")
	c.fails(`SETMETADATA INBOX (/private/e0 "`+strings.Repeat("x", metadata.MaxValue+1)+`")`, "NO [METADATA MAXSIZE 16384]")
	if got := c.ok("GETMETADATA INBOX /private/e0"); got[0] != `* METADATA "INBOX" (/private/e0 "0")` {
		t.Error(got)
	}
	c.ok(`SETMETADATA INBOX (/private/e0 NIL /private/more "x")`)
	if got := c.ok("GETMETADATA INBOX (DEPTH infinity) /private"); strings.Count(got[0], "/private/") != metadata.MaxEntries {
		t.Error(got)
	}
}
