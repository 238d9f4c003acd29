package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/scripts/rig"
	"maildird/scripts/rig/intercept"
)

var flagCalls = flag.Bool("calls", false, "have TestCalls try every error at every call, for some minutes")

// failing has one call of a cell's operation fail.
type failing struct {
	at    int // number of the call; less than 0: none
	errno unix.Errno
	half  bool // a write does half of what it was to do, and with an errno the next one fails

	mu     sync.Mutex
	n      int
	failed intercept.Call
	path   string // of the write that did half
	log    []string
}

func (f *failing) decide(c intercept.Call) intercept.Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf("%d %s", f.n, c))
	f.n++
	if f.path != "" && c.Path == f.path && strings.HasSuffix(c.Name, "write") {
		f.path = ""
		return intercept.Action{Errno: f.errno}
	}
	if f.n-1 != f.at {
		return intercept.Action{}
	}
	if f.half && strings.HasSuffix(c.Name, "write") {
		f.failed = c
		if f.errno != 0 {
			f.path = c.Path
		}
		return intercept.Action{Half: true}
	}
	if f.errno != 0 { // else this call was a write when the calls were counted
		f.failed = c
	}
	return intercept.Action{Errno: f.errno}
}

// errnosOf are how a call can fail.
func errnosOf(name string) []unix.Errno {
	switch name {
	case "fsync", "fdatasync":
		return []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT}
	case "write", "pwrite", "copy_file_range", "mkdirat", "linkat", "renameat", "renameat2":
		return []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT}
	case "openat":
		return []unix.Errno{unix.EIO, unix.ENOSPC, unix.ESTALE, unix.EMFILE}
	}
	return []unix.Errno{unix.EIO, unix.ESTALE}
}

// TestCalls has system calls on files fail once that an operation makes, each in its
// turn: write, also in part, fsync, fstat, getdents, read, rename, link and all others. Half
// a write is no error. Otherwise the operation is refused and nothing of it is there, or it
// is done; the same session does it when it is asked again, and everything else; and what
// was acknowledged is there, with its UID and flags, also after a restart.
func TestCalls(t *testing.T) {
	needed(t)
	users := 300
	if *flagCalls {
		users = 9000
	}
	trap, m := newTrapped(t, users)
	must(t, quotaForAll(m))
	must(t, m.Stop(patience))
	must(t, m.Start(context.Background()))
	n := 0
	for i := range callOperations {
		op := &callOperations[i]
		var cells cellar
		t.Run(strings.ReplaceAll(op.name, " ", "-"), func(t *testing.T) {
			names := cells.add(t, m, &n).tryCall(t, trap, op, &failing{at: -1})
			for at, name := range names {
				fields := strings.Fields(name)
				for k, f := range waysToFail(at, fields[1]) {
					if !*flagCalls && (at%40 != 7*i%40 || k != (at/40+i)%3) {
						continue
					}
					t.Run(fmt.Sprintf("%d-%s-%v-%v", at, fields[1], f.errno, f.half), func(t *testing.T) {
						t.Parallel()
						cells.add(t, m, &n).tryCall(t, trap, op, f)
					})
				}
			}
		})
		if last := i == len(callOperations)-1; last || *flagCalls || i == len(callOperations)/2 {
			must(t, m.Stop(patience))
			must(t, m.Start(context.Background()))
		}
		defer cells.empty(t, op)
		if *flagCalls { // or else it takes much memory
			cells.empty(t, op)
		}
	}
}

// cellar is the cells of an operation. Safe for concurrent use.
type cellar struct {
	mu    sync.Mutex
	cells []*cell
}

// add makes another cell, with the next user.
func (all *cellar) add(t *testing.T, m *rig.Maildird, next *int) *cell {
	t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	c, err := newCell(m, userName(*next))
	*next++
	if c != nil {
		all.cells = append(all.cells, c)
	}
	must(t, err)
	return c
}

// empty looks once more into the cells, and takes them down.
func (all *cellar) empty(t *testing.T, op *operation) {
	t.Helper()
	for _, c := range all.cells {
		if err := until(c.compare); err != nil {
			t.Errorf("%s, %s, in the end: %v", op.name, c.user, err)
		}
		c.close()
		_ = c.unmount()
	}
	all.cells = nil
}

// newTrapped starts a program with so many users whose calls the test decides about.
func newTrapped(t *testing.T, users int) (*intercept.Interceptor, *rig.Maildird) {
	t.Helper()
	trap := intercept.New()
	dir, err := rig.Dir("intercept")
	must(t, err)
	t.Cleanup(func() {
		if err := trap.Close(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	program, err := trap.Program(binary, dir)
	must(t, err)
	return trap, newMaildirdOf(t, program, users, "# [limits]", "[limits]\nconnections_per_ip = 10000\n#")
}

// waysToFail are how a call can fail.
func waysToFail(at int, name string) (all []*failing) {
	for _, errno := range errnosOf(name) {
		all = append(all, &failing{at: at, errno: errno})
		if strings.HasSuffix(name, "write") {
			all = append(all, &failing{at: at, errno: errno, half: true})
		}
	}
	if strings.HasSuffix(name, "write") {
		all = append(all, &failing{at: at, half: true})
	}
	return all
}

// quotaForAll gives all users a quota, whose count has to be kept.
func quotaForAll(m *rig.Maildird) error {
	path := filepath.Join(m.Dir, "users")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "secret\n", "secret::::::userdb_quota_rule=*:storage=100M\n")), 0o600)
}

// callOperations are the operations, and some that whole-file faults have nothing to say of.
var callOperations = append(slices.Clone(operations), []operation{
	{name: "SETMETADATA", do: plain(`SETMETADATA Box (/private/comment "x")`), done: func(world) {}},
	{name: "APPEND with a new keyword", do: (*cell).appendKeyword, done: arrives("append", "Box", `later`)},
	{name: "STORE UNCHANGEDSINCE", do: imap(`UID STORE %d (UNCHANGEDSINCE 9999999999999999) +FLAGS (\Flagged)`, "flagged"), done: becomes("flagged", `\Flagged`)},
	{name: "EXPUNGE with CONDSTORE", do: (*cell).expungeKnown, done: func(w world) { delete(w["INBOX"], "deleted") }},
	{name: "SELECT (CONDSTORE)", do: plain("SELECT Known (CONDSTORE)"), done: func(world) {}},
	{name: "REPLACE", do: (*cell).replace, done: func(w world) {
		delete(w["INBOX"], "moved")
		w["INBOX"]["replaced"] = ""
	}},
	{name: "UNSUBSCRIBE", do: plain("UNSUBSCRIBE Sent"), done: func(world) {}},
	{name: "GETQUOTA", do: plain(`GETQUOTAROOT INBOX`), done: func(world) {}, reads: true},
	{name: "SEARCH", do: plain(`UID SEARCH BODY nothing SUBJECT else`), done: func(world) {}, reads: true},
	{name: "SORT", do: plain(`UID SORT (SUBJECT DATE) UTF-8 ALL`), done: func(world) {}, reads: true},
	{name: "LIST", do: plain(`LIST (SUBSCRIBED) "" * RETURN (STATUS (MESSAGES SIZE) SPECIAL-USE)`), done: func(world) {}, reads: true},
}...)

func (c *cell) appendKeyword() (string, string) {
	text := strings.ReplaceAll(mailText("append", c.lines), "\n", "\r\n")
	return c.command(`APPEND Box (later) {%d+}`+"\r\n%s", len(text), text)
}

// expungeKnown asks for a mod-sequence, which has to be known for long, with the removal.
func (c *cell) expungeKnown() (string, string) {
	if answer, words := c.command("ENABLE QRESYNC"); answer != "OK" {
		return answer, words
	}
	return c.command("UID EXPUNGE %d", c.uids["INBOX"]["deleted"])
}

func (c *cell) replace() (string, string) {
	text := strings.ReplaceAll(mailText("replaced", c.lines), "\n", "\r\n")
	return c.command(`UID REPLACE %d INBOX {%d+}`+"\r\n%s", c.uids["INBOX"]["moved"], len(text), text)
}

// doneAllTheSame tells whether an operation that was refused was done: one that removes,
// if it cannot be said that it stays so, as the table has it; and whether REPLACE has saved
// the new message, which it told, but not removed the old one.
func (c *cell) doneAllTheSame(op *operation, f *failing) (done, both bool) {
	after := c.mail.clone()
	op.done(after)
	switch {
	case strings.HasPrefix(op.name, "EXPUNGE"), op.name == "MOVE":
		return f.failed.Name == "fsync" && c.onDisk(after) == nil, false
	case op.name == "REPLACE":
		if f.failed.Name == "fsync" && c.onDisk(after) == nil {
			return true, true
		}
		after["INBOX"]["moved"] = c.mail["INBOX"]["moved"]
		if c.onDisk(after) == nil {
			c.mail = after
			return false, true
		}
	}
	return false, false
}

// tryCall does the operation while a call fails, and after it. It gives the calls.
func (c *cell) tryCall(t *testing.T, trap *intercept.Interceptor, op *operation, f *failing) []string {
	defer c.close()
	if op.closed {
		if _, err := c.client.Do("UNSELECT"); err != nil {
			t.Fatal(err)
		}
	}
	c.lines = 3
	log := len(c.m.Log())
	trap.Below(c.home, f.decide)
	answer, words := op.do(c)
	trap.Below(c.home, nil)
	good := func() bool { return answer == "250" || strings.HasPrefix(answer, "OK") }
	defer func() {
		if t.Failed() {
			t.Logf("the answer was %q, %q; failed: %s; calls:\n%s\nlog:\n%s", answer, words, f.failed, strings.Join(f.log, "\n"), strings.Join(c.logSince(log), "\n"))
		}
	}()
	if f.at < 0 && !good() {
		t.Fatal("without a fault")
	}
	refusals := []string{"451 4.3.0", "452 4.3.1", "452 4.2.2", "NO [UNAVAILABLE]", "NO [OVERQUOTA]", "NO [NOPERM]", "NO [LIMIT]"}
	if !good() && !slices.Contains(refusals, answer) {
		t.Errorf("odd answer %q", answer)
	}
	refused := !good()
	done, both := !refused, false
	if refused {
		done, both = c.doneAllTheSame(op, f)
	}
	// CREATE is durable before the mailbox is opened, SELECT shows new mail when there is
	// room for its UID, and a history that is lost begins anew.
	if !refused && strings.HasSuffix(f.failed.Name, "sync") && op.name != "CREATE" && !strings.HasPrefix(op.name, "SELECT") && !strings.Contains(f.failed.Path, "/maildird-history") {
		t.Errorf("%s, and %s failed", answer, f.failed)
	}
	c.trashed = op.name == "DELETE"
	if done {
		op.done(c.mail)
	}
	if refused && f.errno == 0 {
		t.Errorf("refused for half a write")
	}
	if err := c.onDisk(c.mail); err != nil {
		t.Errorf("after it: %v", err)
	}
	for _, line := range c.logSince(log) {
		if strings.Contains(line, "damaged") && strings.Contains(line, c.home) {
			t.Errorf("an error of a call is taken for damage: %s", line)
		}
	}
	if refused && !both {
		if !sleepUntil(func() bool { answer, words = op.do(c); return good() || strings.Contains(words, "exist") }) || !good() {
			t.Errorf("afterwards the answer is %q, %q", answer, words)
		}
		if !done {
			op.done(c.mail)
		}
	}
	c.checkAfterwards(t)
	return f.log
}

// TestOrderOfCalls: calls of several threads have no fixed order, so where a write was counted
// there may be another call later. Half of it is all of it, and it has not failed.
func TestOrderOfCalls(t *testing.T) {
	f := failing{half: true}
	if a := f.decide(intercept.Call{Name: "fsync"}); a != (intercept.Action{}) || f.failed != (intercept.Call{}) {
		t.Errorf("%v, and %q counts as failed", a, f.failed)
	}
}
