package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestCondstoreIndependentClient uses all CONDSTORE features of go-imap's client.
func TestCondstoreIndependentClient(t *testing.T) {
	t.Parallel()
	c := startServer(t).connect(t, nil)
	c.append("INBOX", clientMail, nil)
	c.append("INBOX", clientMail, nil)
	box, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	c.must(err)
	fetch := func(opt *imap.FetchOptions) map[imap.UID]uint64 {
		t.Helper()
		opt.UID = true
		msgs, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, opt).Collect()
		c.must(err)
		out := map[imap.UID]uint64{}
		for _, m := range msgs {
			out[m.UID] = m.ModSeq
		}
		return out
	}
	all := fetch(&imap.FetchOptions{ModSeq: true})
	if len(all) != 2 || all[1] == 0 || all[2] <= all[1] {
		t.Errorf("MODSEQ of two messages: %v", all)
	}
	if box.HighestModSeq != 0 && box.HighestModSeq != all[2] { // beta 8 does not parse the code
		t.Errorf("HIGHESTMODSEQ %d of %v", box.HighestModSeq, all)
	}
	stored, err := c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}},
		&imap.StoreOptions{UnchangedSince: all[2]}).Collect()
	c.must(err)
	if len(stored) != 1 || stored[0].UID != 2 || stored[0].ModSeq <= all[2] {
		t.Fatalf("STORE: %+v", stored)
	}
	again, err := c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsDel, Flags: []imap.Flag{imap.FlagFlagged}},
		&imap.StoreOptions{UnchangedSince: all[2]}).Collect()
	c.must(err)
	if len(again) != 1 || again[0].ModSeq != stored[0].ModSeq {
		t.Errorf("STORE that changes nothing: %+v", again)
	}
	changed := fetch(&imap.FetchOptions{ModSeq: true, ChangedSince: all[2]})
	if len(changed) != 1 || changed[2] != stored[0].ModSeq {
		t.Errorf("CHANGEDSINCE: %v", changed)
	}
	st, err := c.Status("INBOX", &imap.StatusOptions{HighestModSeq: true, NumMessages: true}).Wait()
	c.must(err)
	if st.HighestModSeq != stored[0].ModSeq {
		t.Errorf("STATUS says %d, the change had %d", st.HighestModSeq, stored[0].ModSeq)
	}
	for _, opt := range []*imap.SearchOptions{nil, {ReturnAll: true}, {ReturnMin: true, ReturnMax: true}} {
		found, err := c.UIDSearch(&imap.SearchCriteria{ModSeq: &imap.SearchCriteriaModSeq{
			ModSeq: stored[0].ModSeq, MetadataName: `/flags/\flagged`, MetadataType: imap.SearchCriteriaMetadataAll,
		}}, opt).Wait()
		c.must(err)
		if found.ModSeq != stored[0].ModSeq {
			t.Errorf("SEARCH MODSEQ with %+v: %+v", opt, found)
		}
	}
}

// TestNoModSeq: a mailbox whose history cannot be written (RFC 7162 section 3.1.2.2).
func TestNoModSeq(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	// A nonempty directory cannot be replaced by a file, even by root.
	if err := os.MkdirAll(filepath.Join(ts.root("alice"), "maildird-history", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := ts.login()
	c.ok("APPEND INBOX (\\Deleted) {15+}\r\nSubject: x\r\n\r\ny")
	has := func(command, want string) {
		t.Helper()
		for _, line := range c.ok(command) {
			if strings.Contains(line, want) {
				return
			}
		}
		t.Errorf("%s: no %q", command, want)
	}
	has("SELECT INBOX", "* OK [NOMODSEQ] ")
	has("SELECT INBOX (CONDSTORE)", "* OK [NOMODSEQ] ")
	has("STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ 0")
	c.fails("FETCH 1 MODSEQ", "BAD")
	c.fails("FETCH 1 FLAGS (CHANGEDSINCE 1)", "BAD")
	c.fails("SEARCH MODSEQ 1", "BAD")
	c.fails("SORT (DATE) UTF-8 MODSEQ 1", "BAD")
	c.fails("STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", "BAD")
	has("STORE 1 +FLAGS (\\Seen)", `* 1 FETCH (UID 1 FLAGS (\Deleted \Seen`)
	c.ok("ENABLE QRESYNC")
	has("SELECT INBOX (QRESYNC (1 1 1:10))", "* OK [NOMODSEQ] ")
	has("EXPUNGE", "* 1 EXPUNGE")
}

// TestConditionalStoreIsAtomic: clients of two servers on the same Maildir change a message, on
// the condition that nobody else did. Exactly one must succeed.
func TestConditionalStoreIsAtomic(t *testing.T) {
	t.Parallel()
	servers := []*testServer{startServer(t), startServer(t)}
	servers[1].home = servers[0].home
	if err := servers[0].provision("alice"); err != nil {
		t.Fatal(err)
	}
	var clients []*testClient
	for i := range 4 {
		c := servers[i%2].login()
		if i == 0 {
			c.ok("APPEND INBOX {15+}\r\nSubject: x\r\n\r\ny")
		}
		c.ok("SELECT INBOX (CONDSTORE)")
		clients = append(clients, c)
	}
	for round := range 15 {
		var modseq string
		for _, line := range clients[0].ok("FETCH 1 (MODSEQ)") {
			if m := modSeqItem.FindStringSubmatch(line); m != nil {
				modseq = m[1]
			}
		}
		won := make([]bool, len(clients))
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				_, status := c.command(fmt.Sprintf("UID STORE 1 (UNCHANGEDSINCE %s) FLAGS.SILENT (word%d round%d)", modseq, i, round%5))
				won[i] = strings.HasPrefix(status, "OK") && !strings.Contains(status, "MODIFIED")
			})
		}
		wg.Wait()
		winners := 0
		for i := range won {
			if won[i] {
				winners++
			}
		}
		if winners != 1 {
			t.Fatalf("round %d: %d of %d clients changed the message since %s", round, winners, len(clients), modseq)
		}
		clients[0].ok("NOOP")
	}
}

// TestEverySelectTellsModSeq: a client that did not ask for mod-sequences is also told the
// highest one (RFC 7162 section 3.1.2.1), and can start from it.
func TestEverySelectTellsModSeq(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.login()
	c.ok("APPEND INBOX {15+}\r\nSubject: x\r\n\r\ny")
	told := func(command string) (n uint64) {
		t.Helper()
		for _, line := range c.ok(command) {
			if _, err := fmt.Sscanf(line, "* OK [HIGHESTMODSEQ %d]", &n); err == nil {
				return n
			}
		}
		t.Fatalf("%s: no HIGHESTMODSEQ", command)
		return 0
	}
	first := told("SELECT INBOX")
	for _, line := range c.ok("STORE 1 +FLAGS (\\Flagged)") {
		if strings.Contains(line, "MODSEQ") {
			t.Errorf("%s: nobody asked for it", line)
		}
	}
	if second := told("EXAMINE INBOX"); second <= first {
		t.Errorf("HIGHESTMODSEQ %d after a change, %d before", second, first)
	}
	if lines := c.ok(fmt.Sprintf("FETCH 1:* FLAGS (CHANGEDSINCE %d)", first)); !strings.Contains(strings.Join(lines, "\n"), "* 1 FETCH (FLAGS (\\Flagged") {
		t.Errorf("changed since: %s", lines)
	}
}

// TestUnknownModSeq: to a client that knows a mod-sequence which the history does not have,
// every message has changed, whatever it asks.
func TestUnknownModSeq(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.login()
	for range 2 {
		c.ok("APPEND INBOX {15+}\r\nSubject: x\r\n\r\ny")
	}
	c.ok("ENABLE QRESYNC")
	var highest, validity uint64
	for _, line := range c.ok("SELECT INBOX") {
		_, _ = fmt.Sscanf(line, "* OK [HIGHESTMODSEQ %d]", &highest)
		_, _ = fmt.Sscanf(line, "* OK [UIDVALIDITY %d]", &validity)
	}
	for _, ask := range []struct {
		command string
		modseq  uint64
		want    []string
	}{
		{"FETCH 1:* UID (CHANGEDSINCE %d)", highest, nil},
		{"FETCH 1:* UID (CHANGEDSINCE %d)", highest + 1, []string{"* 1 FETCH (UID 1", "* 2 FETCH (UID 2"}},
		{"FETCH 1:* UID (CHANGEDSINCE %d)", 1<<63 - 1, []string{"* 1 FETCH (UID 1", "* 2 FETCH (UID 2"}},
		{"UID FETCH 1:4 (FLAGS) (CHANGEDSINCE %d VANISHED)", highest, nil},
		{"UID FETCH 1:2 (FLAGS) (VANISHED CHANGEDSINCE %d)", highest + 1, []string{"* 1 FETCH (UID 1", "* 2 FETCH (UID 2"}},
		{"SEARCH MODSEQ %d", highest + 1, []string{"* SEARCH\n"}}, // of a client that knows highest
		{"SEARCH MODSEQ %d", highest + 2, []string{"* SEARCH 1 2 "}},
		{"SEARCH OR MODSEQ 0 MODSEQ %d", highest + 1, []string{"* SEARCH 1 2 "}},
		{"ESEARCH IN (mailboxes INBOX) MODSEQ %d", highest + 2, []string{"UID ALL 1:2 "}},
		{"ESEARCH IN (mailboxes INBOX) MODSEQ %d", highest + 1, nil},
	} {
		text := strings.Join(c.ok(fmt.Sprintf(ask.command, ask.modseq)), "\n") + "\n"
		found := strings.Count(text, "FETCH (") + strings.Count(text, "ALL ")
		for _, want := range ask.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s with %d of %d: %q", ask.command, ask.modseq, highest, text)
			}
		}
		if ask.want == nil && found > 0 {
			t.Errorf("%s with %d of %d: %q", ask.command, ask.modseq, highest, text)
		}
	}
	for modseq, want := range map[uint64]int{highest: 0, highest + 1: 2} {
		c.ok("UNSELECT")
		text := strings.Join(c.ok(fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d))", validity, modseq)), "\n")
		if n := strings.Count(text, "FETCH ("); n != want {
			t.Errorf("QRESYNC with %d of %d: %q", modseq, highest, text)
		}
	}
}
