package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir"
)

// TestSortingIsBounded: the texts that SORT and THREAD compare take no more memory than a user's
// share, however many copies of a long header there are; they share one file on the disk.
func TestSortingIsBounded(t *testing.T) {
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Limits.Sorting = 4 << 20 })
	c := ts.login()
	cur := filepath.Join(ts.root("alice"), "cur")
	name := func(i int) string { return filepath.Join(cur, fmt.Sprintf("170693%04d.M1P1.test:2,", i)) }
	write := func(i int, head string) {
		if err := os.WriteFile(name(i), []byte(head+"\n\ntext\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 2000)
	write(0, fmt.Sprintf("Subject: %s\nFrom: %[1]s@y\nTo: %[1]s@y\nMessage-ID: <a@b>\nReferences:%s", long, strings.Repeat(" <"+long+"@y>", 10)))
	const copies = 1000
	for i := 1; i < copies; i++ {
		if err := os.Link(name(0), name(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.ok("SELECT INBOX")
	const sort = "SORT (SUBJECT FROM TO) UTF-8 "
	c.fails(sort+"ALL", "NO [LIMIT]")
	if got := c.ok(sort + "1:3"); got[0] != "* SORT 1 2 3" {
		t.Errorf("%.100s", got[0])
	}
	if got := c.ok("THREAD REFERENCES UTF-8 ALL"); !strings.HasPrefix(got[0], "* THREAD ") {
		t.Errorf("%.100s", got[0])
	}
	c.ok(sort + "1:400") // their order is remembered, and the others are inserted
	for i := copies; i < 2*copies; i++ {
		write(i, fmt.Sprintf("Subject: s\nMessage-ID: <%d%s@y>\nReferences: <%[1]d%[2]s@z>", i, long))
	}
	c.ok("NOOP")
	c.fails("THREAD REFERENCES UTF-8 ALL", "NO [LIMIT]")
	c.fails("THREAD REFS UTF-8 ALL", "NO [LIMIT]")
	c.ok("THREAD ORDEREDSUBJECT UTF-8 1:100")
	c.ok(sort + "1:10")
}

// TestSortingInContext: a session whose sorted result cannot be kept up to date, because others of
// the user take all his memory, is told so (RFC 5267 section 4.3.1) and goes on.
func TestSortingInContext(t *testing.T) {
	const share = 4 << 20
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Limits.Sorting = share })
	c := ts.login()
	c.ok("SELECT INBOX")
	drop := func(name string) {
		file := filepath.Join(ts.root("alice"), "cur", "1706930000.M1P1."+name+":2,")
		if err := os.WriteFile(file, []byte("Subject: a subject that is long\n\ntext\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.send("s SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL\r\nn SEARCH RETURN (UPDATE) ALL\r\n")
	for range 2 {
		c.want("* ESEARCH ")
		c.line()
	}
	if !ts.sorting.Take("alice@example.org", share) {
		t.Fatal("the share is used already")
	}
	drop("a")
	if got := strings.Join(c.ok("NOOP"), "\n"); !strings.Contains(got, `* NO [NOUPDATE "s"] `) || !strings.Contains(got, `(TAG "n") ADDTO (0 1)`) {
		t.Error(got)
	}
	ts.sorting.Give("alice@example.org", share)
	drop("b")
	if got := strings.Join(c.ok("NOOP"), "\n"); strings.Contains(got, `"s"`) || !strings.Contains(got, `(TAG "n") ADDTO (0 2)`) {
		t.Error(got)
	}
}
