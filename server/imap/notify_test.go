package imap

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/server/imap/wire"
	"maildird/server/servertest"
)

// drop delivers a message to a folder of alice, "" for INBOX, as a delivery agent does.
func (ts *testServer) drop(folder string, n int) {
	ts.t.Helper()
	dir := filepath.Join(ts.root("alice"), folder)
	name := fmt.Sprintf("17069331%02d.M1P1.test", n)
	if err := os.WriteFile(filepath.Join(dir, "tmp", name), []byte("Subject: x\n\ntext\n"), 0o600); err != nil {
		ts.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)); err != nil {
		ts.t.Fatal(err)
	}
}

// want reads a line and checks how it begins.
func (c *testClient) want(prefix string) {
	c.t.Helper()
	if got := c.line(); !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("expected %s, got %s", prefix, got)
	}
}

// TestNotifyOverflow: a NOTIFY with more mailboxes than a session may watch is refused, and
// additional mailboxes that appear later end NOTIFY (RFC 5465 sections 3.1 and 5.8).
func TestNotifyOverflow(t *testing.T) {
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Limits.Watched = 6 })
	c := ts.login()
	const everything = "NOTIFY SET (personal (MessageNew MessageExpunge))"
	c.ok(everything) // INBOX and 5 others
	if told := c.ok("CREATE a"); len(told) != 1 || !strings.HasPrefix(told[0], "* OK [NOTIFICATIONOVERFLOW]") {
		t.Errorf("told %q", told)
	}
	ts.drop(".Drafts", 1)
	c.ok("NOOP")
	c.send("x " + everything + "\r\n")
	c.want("x NO [NOTIFICATIONOVERFLOW]")
	c.ok("NOTIFY SET (mailboxes (a Drafts) (MessageNew MessageExpunge))")
	ts.drop(".Drafts", 2)
	c.want(`* STATUS "Drafts" (MESSAGES 2 UIDNEXT 3)`)
}

// TestNotifyMetadataOverflow: a session does not remember any number of changed annotations while it
// is busy, and ends NOTIFY instead (RFC 5465 section 5.8).
func TestNotifyMetadataOverflow(t *testing.T) {
	ts := startServer(t)
	c, other := ts.login(), ts.login()
	c.ok("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
	busy := func(tag string) { // until done
		c.send(tag + " LIST {0}\r\n")
		c.want("+")
	}
	done := func() {
		c.send(" INBOX\r\n")
		c.want(`* LIST `)
	}
	busy("x")
	change := func(mailbox string, from, to int) {
		var changes []string
		for i := from; i < to; i++ {
			changes = append(changes, fmt.Sprintf("/private/%d NIL", i))
		}
		other.ok("SETMETADATA " + mailbox + " (" + strings.Join(changes, " ") + ")")
	}
	change("INBOX", 0, maxEntriesToTell)
	change("INBOX", 0, maxEntriesToTell) // the same once more
	done()
	c.want(`* METADATA "INBOX" /private/0 `)
	c.want("x OK")
	busy("y")
	change("INBOX", 0, maxEntriesToTell)
	change(`""`, 0, 1)
	done()
	c.want("* OK [NOTIFICATIONOVERFLOW]")
	c.want("y OK")
	change("INBOX", 0, 1)
	if told := c.ok("NOOP"); len(told) > 0 {
		t.Errorf("told %q", told)
	}
}

// TestNotifyMetadataOfManyMailboxes: the names of mailboxes are not remembered without end either.
func TestNotifyMetadataOfManyMailboxes(t *testing.T) {
	n := newNotifier(&session{wire: new(wire.Conn)}, nil)
	for i := range 2 * maxEntriesToTell {
		n.metadataChanged(maildir.MetadataChange{Mailbox: strconv.Itoa(i), Entries: []string{"/private/comment"}})
	}
	if len(n.metadata) != maxEntriesToTell+1 || n.entries <= maxEntriesToTell {
		t.Errorf("%d mailboxes, %d entries", len(n.metadata), n.entries)
	}
}

// TestMailboxFilterBounds: each mailbox is compared with all filters of a command,
// whose number is limited.
func TestMailboxFilterBounds(t *testing.T) {
	c := startServer(t).login()
	subtrees := func(n int) string { return "subtree (" + strings.Repeat("a ", n-1) + "a)" }
	for _, test := range []struct{ begin, filter, end string }{
		{"NOTIFY SET", " (%s (MailboxName))", ""},
		{"ESEARCH IN (personal", " %s", ") ALL"},
	} {
		command := func(filter string, times int) string {
			return test.begin + strings.Repeat(fmt.Sprintf(test.filter, filter), times) + test.end
		}
		c.ok(command("personal", maxFilters-1))
		c.ok(command(subtrees(maxSubtrees/2), 2))
		c.fails(command("personal", maxFilters+1), "NO [LIMIT]")
		c.fails(command(subtrees(maxSubtrees/2+1), 2), "NO [LIMIT]")
	}
}

// TestNotifyReplaced: another folder takes the name of a watched one.
func TestNotifyReplaced(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	root := ts.root("alice")
	for _, name := range []string{"a", "b"} {
		c.ok("CREATE " + name)
		c.ok("SELECT " + name) // so that it has a UIDVALIDITY
	}
	c.ok("UNSELECT")
	ts.drop(".b", 1)
	c.ok("NOTIFY SET (mailboxes a (MessageNew MessageExpunge FlagChange))")
	if err := os.Rename(filepath.Join(root, ".a"), filepath.Join(root, ".c")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, ".b"), filepath.Join(root, ".a")); err != nil {
		t.Fatal(err)
	}
	c.want(`* STATUS "a" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY `)
	ts.drop(".a", 2)
	c.want(`* STATUS "a" (MESSAGES 2 UIDNEXT 3 UNSEEN 2)`)
	// The selected mailbox is reported as such, the previously selected one is not.
	c.ok("SELECT a")
	ts.drop(".a", 3)
	c.ok("NOOP")
	c.ok("UNSELECT")
	ts.drop(".a", 4)
	c.want(`* STATUS "a" (MESSAGES 4 UIDNEXT 5 UNSEEN 4)`)
}

// TestNotifyLayouts: in the layout "fs", folders below folders are noticed, and a session with
// TLS and COMPRESS is woken, too.
func TestNotifyLayouts(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert), withLayoutFS)
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newTestClient(t, conn)
	c.line()
	c.ok("STARTTLS")
	secure := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	_ = secure.SetDeadline(time.Now().Add(time.Minute))
	c = newTestClient(t, secure)
	c.ok("LOGIN alice secret")
	c.ok("CREATE a")
	c.ok("NOTIFY SET (subtree a (MailboxName MessageNew MessageExpunge))")
	// Create it elsewhere: without cur it would be a name that cannot be selected, and would be
	// reported as such if the server looked between the creation of the two directories.
	made := t.TempDir()
	if err := os.Mkdir(filepath.Join(made, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, filepath.Join(ts.root("alice"), "a", "b")); err != nil {
		t.Fatal(err)
	}
	c.want(`* LIST (\HasNoChildren) "/" "a/b"`)
	c.want(`* LIST (\HasChildren) "/" "a"`)
	c.want(`* STATUS "a/b" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY `)
	ts.drop("a/b", 1)
	c.want(`* STATUS "a/b" (MESSAGES 1 UIDNEXT 2)`)
}

// TestNotifyModSeq: a reported mod-sequence never includes a message that the
// accompanying counts do not include, however the observations of a session interleave
// with the appends of another.
func TestNotifyModSeq(t *testing.T) {
	ts := startServer(t)
	c, other := ts.login(), ts.login()
	c.ok("CREATE box")
	c.ok("ENABLE CONDSTORE")
	c.ok("NOTIFY SET (mailboxes box (MessageNew MessageExpunge FlagChange))")
	const n = 200
	go func() { _, _ = io.WriteString(other.conn, strings.Repeat("a APPEND box {3+}\r\nabc\r\n", n)) }()
	numbers := regexp.MustCompile(`(UIDNEXT|HIGHESTMODSEQ|UID|MODSEQ) \(?(\d+)`)
	read := func(line string) map[string]uint64 {
		found := map[string]uint64{}
		for _, m := range numbers.FindAllStringSubmatch(line, -1) {
			found[m[1]], _ = strconv.ParseUint(m[2], 10, 64)
		}
		return found
	}
	highest := map[uint64]uint64{} // by the UIDNEXT that the client knows
	for next := uint64(1); next <= n; {
		told := read(c.line())
		next = max(next, told["UIDNEXT"])
		highest[next] = max(highest[next], told["HIGHESTMODSEQ"])
	}
	for range n {
		other.want("a OK ")
	}
	other.ok("SELECT box")
	for _, line := range other.ok("UID FETCH 1:* (MODSEQ)") {
		message := read(line)
		for next, modseq := range highest {
			if uid := message["UID"]; uid >= next && modseq >= message["MODSEQ"] {
				t.Errorf("with UIDNEXT %d, HIGHESTMODSEQ %d was told, and UID %d has %d", next, modseq, uid, message["MODSEQ"])
			}
		}
	}
}

func withLayoutFS(_ *Config, a *maildir.AccountOptions) { a.Folder.Layout = folder.LayoutFS }
