package imap

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"maildird/maildir"
	"maildird/maildir/filename"
	"maildird/server/imap/syntax"
)

// keptResult is a client's copy of a search result, which it keeps up to date
// with the server's notifications.
type keptResult struct {
	tag    string
	uid    bool
	sorted bool
	fresh  string // the command that returns the same result, without RETURN
	list   []uint32
}

// contextClient keeps results up to date as described in RFC 5267 section 4.3.
type contextClient struct {
	*testClient
	results []*keptResult
	exists  uint32
	told    int // ADDTO and REMOVEFROM
}

var (
	existsLine  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	esearchLine = regexp.MustCompile(`^\* ESEARCH \(TAG "([^"]+)"\)( UID)?(.*)$`)
	updateItem  = regexp.MustCompile(`^ (ADDTO|REMOVEFROM) \(([^()]+)\)`)
	allItem     = regexp.MustCompile(`^ ALL (\S+)`)
)

// hear processes a response.
func (c *contextClient) hear(line string) {
	c.t.Helper()
	if m := existsLine.FindStringSubmatch(line); m != nil {
		c.exists = number32(c.t, m[1])
	} else if m := expungeLine.FindStringSubmatch(line); m != nil {
		c.expunged(number32(c.t, m[1]))
	} else if m := esearchLine.FindStringSubmatch(line); m != nil {
		for _, r := range c.results {
			if r.tag == m[1] {
				c.update(r, m[2] != "", m[3])
				return
			}
		}
	}
}

// expunged renumbers the messages. The expunged message must have left the results before.
func (c *contextClient) expunged(seq uint32) {
	c.exists--
	for _, r := range c.results {
		for i, n := range r.list {
			switch {
			case r.uid:
			case n == seq:
				c.t.Fatalf("%s: message %d is expunged and still in the result of %s", r.tag, seq, r.fresh)
			case n > seq:
				r.list[i]--
			}
		}
	}
}

// update applies the items of a response, in order.
func (c *contextClient) update(r *keptResult, uid bool, rest string) {
	c.t.Helper()
	if uid != r.uid {
		c.t.Fatalf("%s is told in the wrong kind of numbers", r.tag)
	}
	for rest != "" {
		m := updateItem.FindStringSubmatch(rest)
		if m == nil {
			c.t.Fatalf("%s: cannot read %q", r.tag, rest)
		}
		rest = rest[len(m[0]):]
		words := strings.Fields(m[2])
		for i := 0; i+1 < len(words); i += 2 {
			at, nums := int(number32(c.t, words[i])), expandSet(c.t, words[i+1])
			c.told++
			for _, n := range nums {
				if !r.uid && n > c.exists {
					c.t.Fatalf("%s: %s: there is no message %d yet", r.tag, m[0], n)
				}
			}
			if m[1] == "ADDTO" {
				r.add(c.t, at, nums)
			} else {
				r.remove(c.t, at, nums)
			}
		}
	}
}

func (r *keptResult) add(t testing.TB, at int, nums []uint32) {
	t.Helper()
	for i, n := range nums {
		if slices.Contains(r.list, n) {
			t.Fatalf("%s: %d is added a second time to %d", r.tag, n, r.list)
		}
		to := at + i - 1
		if at == 0 {
			to, _ = slices.BinarySearch(r.list, n)
		}
		if to > len(r.list) {
			t.Fatalf("%s: there is no position %d in %d", r.tag, at+i, r.list)
		}
		r.list = slices.Insert(r.list, to, n)
	}
	if (at > 0) != r.sorted {
		t.Fatalf("%s: position %d", r.tag, at)
	}
}

func (r *keptResult) remove(t testing.TB, at int, nums []uint32) {
	t.Helper()
	for _, n := range nums {
		i := slices.Index(r.list, n)
		if i < 0 || at > 0 && i != at-1 || (at > 0) != r.sorted {
			t.Fatalf("%s: %d is not at position %d of %d", r.tag, n, at, r.list)
		}
		r.list = slices.Delete(r.list, i, i+1)
	}
}

// do sends a command that must be answered with OK, and processes its responses. It returns ALL
// of the ESEARCH that is the answer itself.
func (c *contextClient) do(text string) (all []uint32) {
	c.t.Helper()
	tag := fmt.Sprintf("t%d", c.tags+1)
	for _, line := range c.ok(text) {
		m := esearchLine.FindStringSubmatch(line)
		if m == nil || m[1] != tag || updateItem.MatchString(m[3]) {
			c.hear(line)
		} else if found := allItem.FindStringSubmatch(m[3]); found != nil {
			all = expandSet(c.t, found[1])
		}
	}
	return all
}

// keep requests a result that is kept up to date. anew is the query that finds the same result
// later, if it differs.
func (c *contextClient) keep(command, order, query, anew string) {
	c.t.Helper()
	r := &keptResult{tag: fmt.Sprintf("t%d", c.tags+1), uid: strings.HasPrefix(command, "UID "), sorted: order != ""}
	text := fmt.Sprintf("%s RETURN (UPDATE ALL)%s %s", command, order, query)
	r.fresh = fmt.Sprintf("%s RETURN (ALL)%s %s", command, order, anew)
	c.results = append(c.results, r)
	// There are no notifications before the answer.
	r.list = c.do(text)
}

// compare repeats all queries. They are repeated once more, since the server
// reports changes in between.
func (c *contextClient) compare() {
	c.t.Helper()
	wrong := ""
	for range 20 {
		c.do("NOOP")
		told := c.told
		wrong = ""
		for _, r := range c.results {
			if want := c.do(r.fresh); !slices.Equal(want, r.list) {
				wrong = fmt.Sprintf("%s: %s finds %d, the client has %d", r.tag, r.fresh, want, r.list)
			}
		}
		if told == c.told && wrong == "" {
			return
		}
	}
	c.t.Fatal(wrong)
}

func number32(t testing.TB, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// expandSet returns the numbers in a set, in order.
func expandSet(t testing.TB, set string) (nums []uint32) {
	t.Helper()
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		n := number32(t, first)
		nums = append(nums, n)
		for isRange && n < number32(t, last) {
			n++
			nums = append(nums, n)
		}
	}
	return nums
}

// contextWorld is a mailbox that is used by a client with results, by another session
// and by other programs.
type contextWorld struct {
	*contextClient
	rng   *rand.Rand
	other *testClient
	root  string
	made  int
}

func (w *contextWorld) pick(list ...string) string { return list[w.rng.IntN(len(list))] }

// text returns a message that searches find and sort in many ways.
func (w *contextWorld) text() string {
	w.made++
	return fmt.Sprintf("Subject: %s%s\nDate: %d Feb 2024 12:00:00 +0000\nFrom: %s\n\n%s\n", w.pick("", "Re: ", "[list] "),
		w.pick("apples", "Bananas", "cherries", "=?utf-8?Q?D=C3=A4tes?=", "dates"), 1+w.rng.IntN(5),
		w.pick("boss@example.org", "Zoe <a@example.org>", "b@example.org"), strings.Repeat(w.pick("x", "needle "), w.rng.IntN(4)))
}

// files returns the messages of the mailbox.
func (w *contextWorld) files() (files []string) {
	for _, dir := range []string{"cur", "new"} {
		found, err := filepath.Glob(filepath.Join(w.root, dir, "*"))
		if err != nil {
			w.t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// stranger changes files as other programs do. Some keyword letters may have no name.
func (w *contextWorld) stranger() {
	files := w.files()
	var err error
	if len(files) == 0 || w.rng.IntN(3) == 0 {
		name := fmt.Sprintf("17069331%02d.M%dP1.test", w.rng.IntN(100), w.made)
		tmp := filepath.Join(w.root, "tmp", name)
		if err := os.WriteFile(tmp, []byte(w.text()), 0o600); err != nil {
			w.t.Fatal(err)
		}
		to := filepath.Join(w.root, "new", name)
		if w.rng.IntN(2) == 0 {
			to = filepath.Join(w.root, "cur", name+w.pick(":2,", ":2,S", ":2,FS", ":2,e"))
		}
		err = os.Rename(tmp, to)
	} else if file := files[w.rng.IntN(len(files))]; w.rng.IntN(3) == 0 {
		err = os.Remove(file)
	} else {
		flags := filename.Flags(0)
		for i, f := range []filename.Flags{filename.Seen, filename.Flagged, filename.Deleted, filename.Keyword(0), filename.Keyword(4)} {
			if w.rng.IntN(3+i) == 0 {
				flags |= f
			}
		}
		err = os.Rename(file, filepath.Join(w.root, "cur", filename.WithFlags(filepath.Base(file), flags)))
	}
	// The server may have moved a new file in the meantime.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
}

// nameLetters gives keyword letters new or other names, as Dovecot does.
func (w *contextWorld) nameLetters() {
	names := []string{"work", "home", "fun", "later", "never"}
	w.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var b strings.Builder
	for i, name := range names {
		fmt.Fprintf(&b, "%d %s\n", i, name)
	}
	file := filepath.Join(w.root, "dovecot-keywords")
	if err := os.WriteFile(file+".tmp", []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		w.t.Fatal(err)
	}
}

// set returns some messages by UID.
func (w *contextWorld) set() string {
	var nums []string
	for range 1 + w.rng.IntN(3) {
		nums = append(nums, fmt.Sprint(1+w.rng.IntN(w.made+1)))
	}
	return strings.Join(nums, ",")
}

func (w *contextWorld) store() string {
	return fmt.Sprintf("UID STORE %s %sFLAGS%s (%s)", w.set(), w.pick("+", "-", ""), w.pick("", ".SILENT"),
		w.pick(`\Seen`, `\Flagged`, `\Deleted`, "work", "fun", `\Seen \Flagged work`))
}

// step lets one of the actors do something.
func (w *contextWorld) step() {
	appends := func() string {
		text := strings.ReplaceAll(w.text(), "\n", "\r\n")
		return fmt.Sprintf("APPEND INBOX (%s) {%d+}\r\n%s", w.pick("", `\Seen`, `\Flagged`, "work"), len(text), text)
	}
	switch w.rng.IntN(12) {
	case 0, 1:
		w.do(w.store())
	case 2:
		w.do(w.pick("EXPUNGE", "UID EXPUNGE "+w.set()))
	case 3:
		w.do(appends())
	case 4:
		w.do("UID FETCH " + w.set() + " BODY[HEADER.FIELDS (X-NONE)]")
	case 5:
		w.do(w.pick("FETCH 1:* FLAGS", "SEARCH UNSEEN", "UID SEARCH DELETED")) // some of them delay EXPUNGE
	case 6:
		w.other.ok(w.store())
	case 7:
		w.other.ok(appends())
	case 8:
		w.other.ok("EXPUNGE")
	case 9:
		if w.rng.IntN(4) == 0 {
			w.nameLetters()
		}
		w.stranger()
	default:
		w.stranger()
	}
}

// keepAny requests a random result that is kept up to date.
func (w *contextWorld) keepAny() {
	command := w.pick("SEARCH", "UID SEARCH", "UID SEARCH", "SORT", "UID SORT")
	query := w.pick("UNSEEN", "OR FLAGGED KEYWORD work", "UNKEYWORD work UNDELETED", "UID 4:*", "NOT UID *", "UID 1000:* UNSEEN",
		"ALL", "OLD", "BODY needle", "SUBJECT d UNSEEN", "FROM boss LARGER 100", "NOT KEYWORD fun", "MODSEQ 9", "SENTSINCE 3-Feb-2024")
	order := ""
	if strings.HasSuffix(command, "SORT") {
		order = " (" + w.pick("SUBJECT", "REVERSE SUBJECT DATE", "SIZE REVERSE FROM", "REVERSE ARRIVAL", "DISPLAYFROM REVERSE SIZE") + ") UTF-8"
	}
	anew := query
	if w.rng.IntN(4) == 0 && w.exists > 0 { // sequence numbers refer to the messages that have them now
		uids := w.do("UID SEARCH RETURN (ALL) 2:*")
		if len(uids) > 0 {
			set := string(syntax.AppendSet(nil, uids))
			query, anew = "2:* UNSEEN", "UID "+set+" UNSEEN"
		}
	}
	w.keep(command, order, query, anew)
}

// TestContextsRandom: the result that a client derives from notifications always equals that of
// a new search, regardless of who changes the mailbox and how.
func TestContextsRandom(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			ts := startServer(t)
			w := &contextWorld{rng: rand.New(rand.NewPCG(seed, 7)), other: ts.login(), root: ts.root("alice")}
			w.contextClient = &contextClient{testClient: ts.login()}
			for range 8 {
				w.stranger()
			}
			w.other.ok("SELECT INBOX")
			w.do("SELECT INBOX")
			if seed%2 == 1 {
				w.do("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
			}
			for i := range 120 {
				if len(w.results) < 8 {
					w.keepAny()
				}
				if i%40 == 39 {
					w.do(fmt.Sprintf("CANCELUPDATE %q", w.results[0].tag))
					w.results = w.results[1:]
				}
				if w.rng.IntN(6) == 0 {
					w.idle()
				}
				w.step()
				w.compare()
			}
			if w.told < 100 {
				t.Errorf("only %d changes were told", w.told)
			}
		})
	}
}

// idle lets others do something while the client idles.
func (w *contextWorld) idle() {
	w.tags++
	tag := fmt.Sprintf("t%d ", w.tags)
	w.send(tag + "IDLE\r\n")
	for line := w.line(); !strings.HasPrefix(line, "+ "); line = w.line() {
		w.hear(line)
	}
	w.stranger()
	w.other.ok(w.store())
	w.send("DONE\r\n")
	for line := w.line(); !strings.HasPrefix(line, tag); line = w.line() {
		w.hear(line)
	}
}

// TestContextBounds: the number of contexts of a session is limited, but one is
// always possible.
func TestContextBounds(t *testing.T) {
	t.Parallel()
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Limits.Contexts = 2 })
	c := ts.login()
	c.ok("SELECT INBOX")
	for range 2 {
		if told := c.ok("UID SEARCH RETURN (UPDATE COUNT) ALL"); len(told) != 1 {
			t.Errorf("told %q", told)
		}
	}
	told := c.ok("UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL")
	want := []string{fmt.Sprintf(`* NO [NOUPDATE "t%d"] Too many contexts.`, c.tags), fmt.Sprintf(`* ESEARCH (TAG "t%d") UID COUNT 0`, c.tags)}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	c.ok(fmt.Sprintf("CANCELUPDATE \"t%d\"", c.tags-1))
	if told := c.ok("UID SEARCH RETURN (UPDATE COUNT) ALL"); len(told) != 1 {
		t.Errorf("told %q", told)
	}
}

// TestContextLooksAtChanges: after a change, the server reads only the changed messages. This
// is visible because the test changes a message in place, which no Maildir program does.
func TestContextLooksAtChanges(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		ts.deliver(t, fmt.Sprintf("170693310%d.M1P1.test:2,", n), "Subject: needle\n\nneedle\n")
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	c.ok("UID SEARCH RETURN (UPDATE COUNT) BODY needle")
	c.ok(`UID SORT RETURN (UPDATE COUNT) (SUBJECT) UTF-8 BODY needle`)
	const changed = "Subject: changed\n\nother text\n"
	for n := range 2 {
		ts.deliver(t, fmt.Sprintf("170693310%d.M1P1.test:2,", n), changed)
	}
	told := c.ok("STORE 2 +FLAGS.SILENT (\\Flagged)")
	want := []string{`* ESEARCH (TAG "t3") UID REMOVEFROM (0 2)`, `* ESEARCH (TAG "t4") UID REMOVEFROM (2 2)`}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if got := c.ok("SEARCH BODY needle"); got[0] != "* SEARCH 3" {
		t.Errorf("a new search finds %q", got)
	}
}
