package imap

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/maildir/filename"
)

// resyncer is a client that keeps a copy of INBOX with QRESYNC, as described in RFC 7162
// section 6, and checks the server's responses.
type resyncer struct {
	t        *testing.T
	c        *testClient // nil while disconnected
	validity string
	modseq   uint64            // its copy of HIGHESTMODSEQ
	flags    map[uint32]string // by UID
	uids     []uint32          // by sequence number; 0 if unknown
	next     uint32            // it has fetched all messages with lower UIDs

	// Since the last tagged response:
	code, seen uint64
	// silent is the effect of the current STORE on flags if it is silent: the server only
	// reports that it has done it.
	silent func(flags string) string
}

var (
	untaggedCount = regexp.MustCompile(`^\* (\d+) (EXISTS|RECENT)$`)
	untaggedFetch = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	vanishedLine  = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([\d:,]+)$`)
	highestCode   = regexp.MustCompile(`OK \[HIGHESTMODSEQ (\d+)\]`)
	validityCode  = regexp.MustCompile(`OK \[UIDVALIDITY (\d+)\]`)
	uidItem       = regexp.MustCompile(`UID (\d+)`)
	flagsItem     = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	modSeqItem    = regexp.MustCompile(`MODSEQ \((\d+)\)`)
)

func atoi(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		panic(err)
	}
	return n
}

// eachUID calls f for each UID of a set.
func eachUID(set string, f func(uint32)) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		for uid := atoi(first); uid <= atoi(last); uid++ {
			f(uint32(uid))
		}
	}
}

// hear processes a line from the server.
func (r *resyncer) hear(line string) {
	r.t.Helper()
	if m := highestCode.FindStringSubmatch(line); m != nil {
		r.code = atoi(m[1])
	}
	if m := validityCode.FindStringSubmatch(line); m != nil {
		r.validity = m[1]
	}
	switch m := untaggedCount.FindStringSubmatch(line); {
	case m != nil && m[2] == "EXISTS":
		n := int(atoi(m[1]))
		if n < len(r.uids) {
			r.t.Fatalf("%s, the client has %d messages", line, len(r.uids))
		}
		r.uids = append(r.uids, make([]uint32, n-len(r.uids))...)
	case strings.HasSuffix(line, "EXPUNGE"):
		r.t.Fatalf("%s after ENABLE QRESYNC", line)
	}
	if m := vanishedLine.FindStringSubmatch(line); m != nil {
		eachUID(m[2], func(uid uint32) { r.vanish(line, uid, m[1] != "") })
	}
	if m := untaggedFetch.FindStringSubmatch(line); m != nil {
		r.fetched(line, int(atoi(m[1])), m[2])
	}
}

func (r *resyncer) vanish(line string, uid uint32, earlier bool) {
	r.t.Helper()
	i := slices.Index(r.uids, uid)
	if earlier && i >= 0 {
		r.t.Fatalf("%s: UID %d is there", line, uid)
	}
	delete(r.flags, uid)
	if earlier {
		return
	}
	if i < 0 {
		// An unknown UID: the message arrived after SELECT.
		if i = slices.Index(r.uids, 0); i < 0 {
			r.t.Fatalf("%s: the client was never told of UID %d", line, uid)
		}
		// UIDs ascend: forget all unknown ones, and ask.
		r.uids = r.uids[:len(r.uids)-1]
		for j := range r.uids[i:] {
			r.uids[i+j] = 0
		}
		return
	}
	r.uids = slices.Delete(r.uids, i, i+1)
}

func (r *resyncer) fetched(line string, seq int, items string) {
	r.t.Helper()
	uid := uidItem.FindStringSubmatch(items)
	if uid == nil || seq < 1 || seq > len(r.uids) {
		r.t.Fatalf("%s: no UID, or no such message", line)
	}
	u := uint32(atoi(uid[1]))
	if known := r.uids[seq-1]; known != 0 && known != u {
		r.t.Fatalf("%s: message %d has UID %d", line, seq, known)
	}
	r.uids[seq-1] = u
	modseq := modSeqItem.FindStringSubmatch(items)
	if modseq == nil || atoi(modseq[1]) == 0 {
		r.t.Fatalf("%s: no mod-sequence", line)
	}
	r.seen = max(r.seen, atoi(modseq[1]))
	if f := flagsItem.FindStringSubmatch(items); f != nil {
		r.flags[u] = sortedFlags(f[1])
	} else if r.silent != nil {
		r.flags[u] = r.silent(r.flags[u])
	}
}

// store sends a STORE and applies it to the copy where the server applies it.
func (r *resyncer) store(cut int, set, modifier, sign, silent, flags string) {
	r.t.Helper()
	if silent != "" {
		r.silent = func(old string) string {
			have := strings.Fields(old)
			switch sign {
			case "":
				have = strings.Fields(flags)
			case "-":
				have = slices.DeleteFunc(have, func(f string) bool { return slices.Contains(strings.Fields(flags), f) })
			case "+":
				have = append(have, strings.Fields(flags)...)
			}
			slices.Sort(have)
			return strings.Join(slices.Compact(have), " ")
		}
	}
	r.do(cut, "%s %s%sFLAGS%s (%s)", set, modifier, sign, silent, flags)
	r.silent = nil
}

func sortedFlags(s string) string {
	var out []string
	for f := range strings.FieldsSeq(s) {
		if f != `\Recent` {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// do sends a command and processes the responses. If cut off after some lines, the client is
// disconnected and keeps what it received.
func (r *resyncer) do(cut int, format string, args ...any) {
	r.t.Helper()
	r.c.tags++
	tag := fmt.Sprintf("t%d ", r.c.tags)
	r.c.send(tag + fmt.Sprintf(format, args...) + "\r\n")
	for i := 0; ; i++ {
		if i == cut {
			_ = r.c.conn.Close()
			r.c, r.code, r.seen = nil, 0, 0
			return
		}
		line := r.c.line()
		status, ok := strings.CutPrefix(line, tag)
		if !ok {
			r.hear(line)
			continue
		}
		if strings.HasPrefix(status, "BAD") {
			r.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), status)
		}
		r.hear(line)
		if r.code != 0 {
			r.modseq = r.code
		} else {
			r.modseq = max(r.modseq, r.seen)
		}
		r.code, r.seen = 0, 0
		return
	}
}

// come connects and receives what it missed.
func (r *resyncer) come(ts *testServer, rng *rand.Rand) {
	r.t.Helper()
	r.c = ts.login()
	r.c.ok("ENABLE QRESYNC")
	r.uids = nil
	if r.modseq == 0 {
		r.flags, r.next = map[uint32]string{}, 1
		r.do(-1, "SELECT INBOX (CONDSTORE)")
	} else {
		known := slices.Sorted(maps.Keys(r.flags))
		more := ""
		if len(known) > 0 && rng.IntN(2) == 0 {
			more = fmt.Sprintf(" %d:%d", known[0], known[len(known)-1])
			// A sample of what it knows, below which it has seen everything.
			if k := rng.IntN(len(known)); known[k] < r.next && rng.IntN(2) == 0 {
				more += fmt.Sprintf(" (%d %d)", k+1, known[k])
			}
		}
		r.do(-1, "SELECT INBOX (QRESYNC (%s %d%s))", r.validity, r.modseq, more)
	}
	r.fetchNew()
}

// fetchNew fetches what it does not know yet.
func (r *resyncer) fetchNew() {
	r.t.Helper()
	r.do(-1, "UID FETCH %d:* (FLAGS MODSEQ)", max(r.next, 1))
	for uid := range r.flags {
		r.next = max(r.next, uid+1)
	}
}

// check compares the copy with the state that a client without a copy sees.
func (r *resyncer) check(ts *testServer) {
	r.t.Helper()
	c := ts.login()
	defer c.conn.Close()
	c.ok("EXAMINE INBOX")
	all := map[uint32]string{}
	for _, line := range c.ok("UID FETCH 1:* (FLAGS)") {
		if m := untaggedFetch.FindStringSubmatch(line); m != nil {
			all[uint32(atoi(uidItem.FindStringSubmatch(m[2])[1]))] = sortedFlags(flagsItem.FindStringSubmatch(m[2])[1])
		}
	}
	if !maps.Equal(all, r.flags) {
		r.t.Fatalf("at %d the client has\n\t%v\nthe server has\n\t%v", r.modseq, r.flags, all)
	}
}

// TestQResyncModel: clients of two servers on the same Maildir, and a program that uses no
// locks, change it. Clients are cut off at any line. Whenever a client has reconnected, its
// copy equals the mailbox.
func TestQResyncModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			servers := []*testServer{startServer(t), startServer(t)}
			servers[1].home = servers[0].home
			if err := servers[0].provision("alice"); err != nil {
				t.Fatal(err)
			}
			w := &qresyncWorld{t: t, rng: rand.New(rand.NewPCG(seed, 7162)), servers: servers, root: servers[0].root("alice")}
			for range 8 {
				w.drop()
			}
			for range 3 {
				w.clients = append(w.clients, &resyncer{t: t})
			}
			for range 250 {
				w.step()
			}
		})
	}
}

type qresyncWorld struct {
	t       *testing.T
	rng     *rand.Rand
	servers []*testServer
	root    string
	clients []*resyncer
	n       int
}

func (w *qresyncWorld) step() {
	w.t.Helper()
	if w.rng.IntN(3) == 0 {
		w.stranger()
		return
	}
	r := w.clients[w.rng.IntN(len(w.clients))]
	ts := w.servers[w.rng.IntN(len(w.servers))]
	if r.c == nil {
		w.quiet()
		r.come(ts, w.rng)
		r.check(ts)
		return
	}
	cut := -1
	if w.rng.IntN(4) == 0 {
		cut = w.rng.IntN(4)
	}
	switch set := w.some(r); w.rng.IntN(9) {
	case 0:
		r.do(cut, "NOOP")
	case 1:
		r.store(cut, "UID STORE "+set, "", w.pick("", "+", "-"), w.pick("", ".SILENT"), w.pick(`\Seen`, `\Flagged`, `\Deleted`, `\Seen word`))
	case 2:
		if n := len(r.uids); n > 0 {
			r.store(cut, fmt.Sprintf("STORE 1:%d", 1+w.rng.IntN(n)), "", "+", ".SILENT", w.pick(`\Seen`, `\Flagged`, `\Answered`))
		}
	case 3:
		if n := len(r.uids); n > 0 {
			r.do(cut, "FETCH %d (FLAGS UID MODSEQ)", 1+w.rng.IntN(n))
		}
	case 4:
		r.do(cut, "EXPUNGE")
	case 5:
		r.store(cut, "UID STORE "+set, fmt.Sprintf("(UNCHANGEDSINCE %d) ", r.modseq), "+", ".SILENT", w.pick(`\Seen`, `\Flagged`, `\Deleted`))
	case 6:
		r.do(cut, "APPEND INBOX (\\Seen) {15+}\r\nSubject: x\r\n\r\ny")
	case 7:
		r.do(cut, "UID MOVE %s INBOX", set)
	case 8:
		r.do(cut, "UID SEARCH %s", w.pick("ALL", "1:*", "SEEN"))
	}
}

// quiet waits until the servers have finished the commands of clients that were cut off.
func (w *qresyncWorld) quiet() {
	w.t.Helper()
	here := 0
	for _, r := range w.clients {
		if r.c != nil {
			here++
		}
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		sessions := 0
		for _, ts := range w.servers {
			sessions += ts.sessions.Len()
		}
		if sessions == here {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%d sessions for %d clients", sessions, here)
		}
	}
}

func (w *qresyncWorld) pick(words ...string) string { return words[w.rng.IntN(len(words))] }

// some returns a set of a few UIDs.
func (w *qresyncWorld) some(r *resyncer) string {
	uids := slices.Sorted(maps.Keys(r.flags))
	if len(uids) == 0 {
		return "1"
	}
	i := w.rng.IntN(len(uids))
	return fmt.Sprintf("%d:%d", uids[i], uids[min(i+w.rng.IntN(3), len(uids)-1)])
}

func (w *qresyncWorld) drop() {
	w.n++
	name := filepath.Join(w.root, "tmp", fmt.Sprintf("17000%05d.M%dP1.other", w.n, w.n))
	if err := os.WriteFile(name, []byte("Subject: x\n\ny\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(name, filepath.Join(w.root, "new", filepath.Base(name))); err != nil {
		w.t.Fatal(err)
	}
}

// stranger changes files as mutt and rm do.
func (w *qresyncWorld) stranger() {
	files, err := filepath.Glob(filepath.Join(w.root, "cur", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	what := w.rng.IntN(4)
	if what == 0 || len(files) == 0 {
		w.drop()
		return
	}
	file := files[w.rng.IntN(len(files))]
	if what == 1 {
		err = os.Remove(file)
	} else {
		flags := filename.Flags(w.rng.Uint32()) & (filename.Seen | filename.Flagged | filename.Answered)
		err = os.Rename(file, filepath.Join(w.root, "cur", filename.WithFlags(filepath.Base(file), flags)))
	}
	// The server may still execute the command of a disconnected client, and be faster.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
}
