package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
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

// TestUnwritableAfterCondstore: a client with CONDSTORE learns what other programs do in a
// mailbox that became unwritable meanwhile, asked or not; who selects it then is told that
// it has no mod-sequences. The numbers are never 0 (RFC 7162 section 7).
func TestUnwritableAfterCondstore(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	ts.stop()
	root := ts.root("alice")
	lockable := unlockable(t, root)
	ts = startServerOn(t, ts.home, t.TempDir()) // which opens what is mounted there now
	put := func(name, before string) {
		t.Helper()
		file := filepath.Join(root, "cur", name)
		err := os.WriteFile(file, []byte("Subject: x\n\n"), 0o600)
		if before != "" {
			err = os.Rename(filepath.Join(root, "cur", before), file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("1.M1P1.x:2,", "")
	a := ts.login()
	a.ok("SELECT INBOX (CONDSTORE)")
	lockable(false)
	put("2.M1P1.x:2,", "")
	put("1.M1P1.x:2,F", "1.M1P1.x:2,")
	has := func(got []string, want ...string) {
		t.Helper()
		for _, part := range want {
			if !strings.Contains(strings.Join(got, "\n"), part) {
				t.Errorf("told %q, want %q", got, part)
			}
		}
	}
	has(a.ok("NOOP"), "* 2 EXISTS", `* 1 FETCH (UID 1 FLAGS (\Flagged`)
	has(a.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE 1)"), "* 1 FETCH (", "* 2 FETCH (", "MODSEQ (1)")
	b := ts.login()
	has(b.ok("SELECT INBOX"), "[NOMODSEQ]")
	has(b.ok("STATUS INBOX (HIGHESTMODSEQ)"), "HIGHESTMODSEQ 0")
	b.fails("FETCH 1 MODSEQ", "BAD")
	lockable(true)
	has(b.ok("SELECT INBOX"), "[HIGHESTMODSEQ ")
	if got := strings.Join(b.ok("FETCH 1:* MODSEQ"), "\n"); strings.Contains(got, "MODSEQ (1)") {
		t.Errorf("told %q when the mailbox can be written again", got)
	}
}

// unlockable returns a function that makes it impossible to create a lock in a Maildir, and
// possible again; new/ and cur/ can be written all the while. It uses the rights or, for
// root, who is not restricted by them, mounts.
func unlockable(t *testing.T, root string) func(lockable bool) {
	set := func(lockable bool) error {
		mode := os.FileMode(0o500)
		if lockable {
			mode = 0o700
		}
		return os.Chmod(root, mode)
	}
	t.Cleanup(func() { _ = os.Chmod(root, 0o700) })
	if os.Geteuid() == 0 {
		for _, dir := range []string{root, filepath.Join(root, "new"), filepath.Join(root, "cur")} {
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		}
		set = func(lockable bool) error {
			flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
			if !lockable {
				flags |= unix.MS_RDONLY
			}
			return unix.Mount(root, root, "", flags, "")
		}
	}
	return func(lockable bool) {
		t.Helper()
		if err := set(lockable); err != nil {
			t.Fatal(err)
		}
	}
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
