package imap

import (
	"fmt"
	"strings"
	"testing"

	"maildird/maildir"
	"maildird/maildir/metadata"
)

// TestMetadataModSeq: a change of a mailbox's annotations increases its HIGHESTMODSEQ; a change
// of the server annotations does not.
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

// TestMetadataTooMany: a command that would exceed the limits changes nothing.
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

// TestMetadataOfServer: the entries that the server itself provides exist even if the account
// has as many entries as allowed.
func TestMetadataOfServer(t *testing.T) {
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Postmaster = "postmaster@example.org" })
	c := ts.login()
	for i := range metadata.MaxEntries {
		c.ok(fmt.Sprintf(`SETMETADATA "" (/private/e%d "%d")`, i, i))
	}
	if got := c.ok(`GETMETADATA "" (/shared/admin /private/e1)`); got[0] != `* METADATA "" (/private/e1 "1" /shared/admin "mailto:postmaster@example.org")` {
		t.Error(got)
	}
}

// TestMetadataNames: an entry name that is not an atom is quoted in responses, also in
// those to other sessions.
func TestMetadataNames(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	other := ts.login()
	other.ok("NOTIFY SET (PERSONAL (MailboxMetadataChange))")
	const name = `"/private/a) \"{9}\\"`
	c.fails(`SETMETADATA INBOX (`+name+` "x")`, "BAD") // contains a space
	const quoted = `"/private/a)\"{9}\\"`
	c.ok(`SETMETADATA INBOX (` + quoted + ` "x")`)
	for _, command := range []string{"GETMETADATA INBOX " + quoted, "GETMETADATA INBOX (DEPTH infinity) /private"} {
		if got := c.ok(command); got[0] != `* METADATA "INBOX" (`+quoted+` "x")` {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := other.line(); got != `* METADATA "INBOX" `+quoted {
		t.Errorf("NOTIFY tells %s", got)
	}
}

// TestListMetadataBound: LIST accepts no more entry names than GETMETADATA.
func TestListMetadataBound(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	names := strings.Repeat(" /private/x", maxEntriesAsked+1)[1:]
	c.fails("GETMETADATA INBOX ("+names+")", "NO [LIMIT]")
	c.fails(`LIST "" "*" RETURN (METADATA (`+names+`))`, "NO [LIMIT]")
}
