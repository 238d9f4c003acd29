package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSaveDateEverywhere queries save dates in all possible ways, with two servers on the same
// Maildir at the same time. All answers must agree.
func TestSaveDateEverywhere(t *testing.T) {
	t.Parallel()
	servers := []*testServer{startServer(t), startServer(t)}
	servers[1].home = servers[0].home
	if err := servers[0].provision("alice"); err != nil {
		t.Fatal(err)
	}
	const n = 30
	for i := range n {
		servers[0].deliver(t, fmt.Sprintf("17069331%02d.M1P1.test:2,S", i), "Subject: x\n\ny\n")
	}
	answers := make([][]string, 4)
	var asking sync.WaitGroup
	for i := range answers {
		c := servers[i%2].login()
		c.ok("SELECT INBOX")
		asking.Go(func() {
			c.ok(fmt.Sprintf("STORE %d:* +FLAGS.SILENT (\\Flagged)", n/2+i))
			answers[i] = c.ok("FETCH 1:* (SAVEDATE)")
			answers[i] = slices.DeleteFunc(answers[i], func(l string) bool { return !strings.Contains(l, "SAVEDATE") })
		})
	}
	asking.Wait()
	for i := range answers {
		if len(answers[i]) != n || !slices.Equal(answers[i], answers[0]) {
			t.Errorf("client %d is told\n%s\nclient 0\n%s", i, strings.Join(answers[i], "\n"), strings.Join(answers[0], "\n"))
		}
	}
	c := servers[1].login()
	for _, has := range []struct{ command, line string }{
		{`ESEARCH IN (personal) SAVEDSINCE 1-Jan-2025`, ` ALL 1:30`},
		{`SELECT INBOX`, `* 30 EXISTS`},
		{`SORT (ARRIVAL) UTF-8 SAVEDSINCE 1-Jan-2025 6:7`, `* SORT 6 7`},
		{`SEARCH OR SAVEDBEFORE 1-Jan-2025 UID 3`, `* SEARCH 3`},
		{`SEARCH SUBJECT x SAVEDBEFORE 1-Jan-2025`, `* SEARCH`},
	} {
		if lines := c.ok(has.command); !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, has.line) }) {
			t.Errorf("%s: no %q in\n%s", has.command, has.line, strings.Join(lines, "\n"))
		}
	}
	c.ok("NOTIFY SET (SELECTED (MessageNew (SAVEDATE) MessageExpunge))")
	servers[0].deliver(t, "1706933200.M1P1.test:2,S", "Subject: new\n\ny\n")
	for !strings.HasPrefix(c.line(), "* 31 FETCH (SAVEDATE ") {
	}
}

// TestSaveDateWithoutHistory: if the history cannot be written, there are save dates that stay
// the same as long as the mailbox is open.
func TestSaveDateWithoutHistory(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(ts.root("alice"), "maildird-history", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(ts.root("alice"), "cur", "1706933101.M1P1.test:2,")
	ts.deliver(t, filepath.Base(name), "Subject: x\n\ny\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	before := c.ok("FETCH 1 SAVEDATE")
	time.Sleep(1100 * time.Millisecond)
	if err := os.Rename(name, name+"S"); err != nil {
		t.Fatal(err)
	}
	c.ok("NOOP")
	if after := c.ok("FETCH 1 SAVEDATE"); !slices.Equal(before, after) {
		t.Errorf("%s became %s", before, after)
	}
}
