package maildir

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/scripts/rig/doveimap"
)

var (
	flagDovecot = flag.String("dovecot", "", "of TestInterleaveDovecot: a regular expression; instead of some, all that have it in \"layout with a quota: operation / action\"")
	flagFirst   = flag.Int("first", 0, "of TestInterleaveDovecot: before which call -dovecot begins; -step goes on from there")
)

// How long some of the interleavings are tested.
const (
	dovecotBudget = 40 * time.Second
	dovecotShort  = 5 * time.Second // with -short
)

// TestInterleaveDovecot lets a real Dovecot do one thing to a Maildir right before each
// system call, in turn, of one of our operations on it. While we hold a folder's lock it
// may have to wait, and finishes after the operation. In the end both report the same for
// all mailboxes: UIDVALIDITY, UIDs, flags, keywords and texts. What either of them told a
// client of a UID stays true, nothing that it acknowledged is lost, and Dovecot reports no
// damaged file.
//
// All operations with all actions take hours: -args -dovecot . -step 1
func TestInterleaveDovecot(t *testing.T) {
	if !doveimap.Unprivileged(t) {
		return
	}
	x := &dovecotExplorer{T: t, root: doveimap.Maildir(t), answers: map[string]int{}}
	if *flagDovecot == "" {
		x.some()
	} else {
		only := regexp.MustCompile(*flagDovecot)
		for _, how := range dovecotSettings {
			for _, op := range dovecotOperations {
				for _, deed := range dovecotDeeds {
					if only.MatchString(fmt.Sprint(how, ": ", op.name, " / ", deed.name)) {
						x.explore(how, op, deed)
					}
				}
			}
		}
	}
	t.Logf("%d interleavings", x.runs)
	for answer, times := range x.answers {
		t.Logf("Dovecot's answer %q: %d times", answer, times)
	}
}

// explore tries an action before some of the calls of an operation, up to the last one.
func (x *dovecotExplorer) explore(how dovecotSetting, op dovecotOperation, deed dovecotDeed) {
	for call := *flagFirst; x.run(how, op, deed, call).calls > call; call += *flagStep {
	}
}

// usualSeed gives the interleavings that are tried if no seed is given.
const usualSeed = 1

// some tests operations, actions and calls in an order determined by the seed. How many
// depends on the machine.
func (x *dovecotExplorer) some() {
	seed := cmp.Or(*flagSeed, usualSeed)
	x.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	budget := dovecotBudget
	if testing.Short() {
		budget = dovecotShort
	}
	end := time.Now().Add(budget)
	calls := map[string]int{}
	for time.Now().Before(end) {
		how := dovecotSettings[rng.IntN(len(dovecotSettings))]
		op, deed := dovecotOperations[rng.IntN(len(dovecotOperations))], dovecotDeeds[rng.IntN(len(dovecotDeeds))]
		in := fmt.Sprint(how, op.name)
		if calls[in] == 0 {
			calls[in] = x.run(how, op, dovecotDeed{name: "does nothing", do: func(*dovecotWorld) {}}, 0).calls
		}
		x.run(how, op, deed, rng.IntN(calls[in]))
	}
}

type dovecotExplorer struct {
	*testing.T
	root    string
	runs    int
	answers map[string]int // of Dovecot, other than OK
}

// dovecotWorld is one Maildir that both serve.
type dovecotWorld struct {
	*dovecotExplorer
	dovecotFolders
	name  string
	how   dovecotSetting
	store *Store
	a     *Account
	main  *session          // of ours, which has the mailbox A open
	other *session          // B
	at    *doveimap.Session // Dovecot's, which has A selected
	atB   *doveimap.Session

	calls int
	where string        // the call before which Dovecot acts
	acted chan struct{} // closed when it is done; nil before it acts
	locks bool          // we hold a folder's lock, or another goroutine is just creating it
	late  bool          // it had to wait for us
	moved bool          // one of the two removes or renames a folder

	mu      sync.Mutex
	faults  []string
	said    []string // Dovecot's answers
	facts   map[dovecotFact]string
	removed map[dovecotFact]bool
	loose   map[dovecotFact]bool            // of which it is not known what flags it has to have
	need    map[dovecotFact]map[string]bool // flags that were acknowledged
}

type dovecotFact struct{ validity, uid uint32 }

// session is one of our sessions, with a mailbox open.
type session struct {
	*Mailbox
	v *mailbox.View
}

func (x *dovecotExplorer) run(how dovecotSetting, op dovecotOperation, deed dovecotDeed, call int) *dovecotWorld {
	w := &dovecotWorld{dovecotExplorer: x, dovecotFolders: newDovecotFolders(), how: how, facts: map[dovecotFact]string{},
		removed: map[dovecotFact]bool{}, loose: map[dovecotFact]bool{}, need: map[dovecotFact]map[string]bool{}}
	x.runs++
	w.moved = op.folders || deed.folders
	w.prepare(op)
	var mu sync.Mutex
	armed := true
	hook := func(what, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if !armed {
			return nil
		}
		if w.calls == call {
			w.where = what + " " + strings.TrimPrefix(path, w.root)
			w.act(deed)
		}
		w.calls++
		if strings.HasSuffix(path, "/dovecot-uidlist.lock") && (what == "create" || what == "remove") {
			w.locks = what == "create"
		}
		return nil
	}
	w.open(op, hook, &armed)
	err := op.do(w)
	mu.Lock()
	armed = false
	mu.Unlock()
	w.name = fmt.Sprintf("%v: %s / %s before %d %s", how, op.name, deed.name, call, w.where)
	if w.acted != nil {
		<-w.acted
	}
	if err != nil && !w.justified(err, deed) {
		w.fault("we say %v", err)
	}
	w.check(deed)
	w.close()
	for _, fault := range w.faults {
		x.Errorf("%s (waited: %t; %q): %s", w.name, w.late, w.said, fault)
	}
	return w
}

// act makes Dovecot do its deed, and waits for that unless it may be waiting for us.
func (w *dovecotWorld) act(deed dovecotDeed) {
	w.acted = make(chan struct{})
	go func() {
		defer close(w.acted)
		deed.do(w)
	}()
	if !w.locked() {
		<-w.acted
		return
	}
	select {
	case <-w.acted:
	case <-time.After(30 * time.Millisecond):
		w.late = true
	}
}

// locked reports whether we hold a lock that Dovecot takes too.
func (w *dovecotWorld) locked() bool {
	inbox, _ := filepath.Glob(filepath.Join(w.root, "*.lock")) // also those of the tree and of subscriptions
	folders, _ := filepath.Glob(filepath.Join(w.root, "*", "dovecot-uidlist.lock"))
	return w.locks || len(inbox)+len(folders) > 0
}

func (w *dovecotWorld) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, strings.ReplaceAll(fmt.Sprintf(format, args...), w.root, ""))
}

// The messages of the template, by their mailbox.
var dovecotTemplate = map[string][]struct{ text, file string }{
	"INBOX": {{"i1", "cur/1700000001.M1P1.host:2,S"}, {"i2", "cur/1700000002.M1P1.host:2,"}},
	"A/K":   {{"kid", "cur/1700000001.M1P1.host:2,S"}},
	"A":     {{"one", "cur/1700000001.M1P1.host:2,S"}, {"two", "cur/1700000002.M1P1.host:2,"}, {"doom", "cur/1700000003.M1P1.host:2,ST"}, {"word", "cur/1700000004.M1P1.host:2,a"}, {"spare", "cur/1700000005.M1P1.host:2,"}},
	"B":     {{"there", "cur/1700000001.M1P1.host:2,S"}, {"too", "cur/1700000002.M1P1.host:2,a"}},
}

func (w *dovecotWorld) put(mailbox, file, text string) {
	path := filepath.Join(w.path(mailbox), "tmp/put")
	check(os.WriteFile(path, []byte("Subject: "+text+"\n\nhello\n"), 0o600), os.Rename(path, filepath.Join(w.path(mailbox), file)))
}

// prepare makes the Maildir, and makes Dovecot open it.
func (w *dovecotWorld) prepare(op dovecotOperation) {
	names, err := os.ReadDir(w.root)
	check(err)
	for _, n := range names {
		check(os.RemoveAll(filepath.Join(w.root, n.Name())))
	}
	_ = os.Remove(filepath.Dir(w.root) + "/dovecot.log")
	w.configure()
	past := time.Now().Add(-time.Hour)
	for name, messages := range dovecotTemplate {
		for _, sub := range []string{"tmp", "new", "cur"} {
			check(os.MkdirAll(filepath.Join(w.path(name), sub), 0o700))
		}
		for _, m := range messages {
			w.put(name, m.file, m.text)
		}
		word := map[string]string{"A": "0 word\n", "B": "0 letter\n"}[name]
		check(os.WriteFile(filepath.Join(w.path(name), "dovecot-keywords"), []byte(word), 0o600))
		for _, sub := range []string{"new", "cur", "dovecot-keywords"} {
			check(os.Chtimes(filepath.Join(w.path(name), sub), past, past))
		}
	}
	for name, s := range map[string]**doveimap.Session{"INBOX": nil, "A": &w.at, "B": &w.atB} {
		d := doveimap.Start(w.T, w.root)
		w.learn(d, name, d.Do("SELECT "+name))
		if s == nil {
			w.learn(d, "A/K", d.Do("SELECT A/K"))
			d.Close()
		} else {
			*s = d
		}
	}
}

// open opens what the operation needs.
func (w *dovecotWorld) open(op dovecotOperation, hook func(op, path string) error, armed *bool) {
	*armed = false
	w.store = w.newStore(op.watched)
	var err error
	w.a, err = w.store.Account(w.Context(), w.account(hook))
	check(err)
	if !op.shut {
		check(w.begin())
		w.other, err = w.session("B")
		check(err)
	}
	w.put("A", "new/1700000006.M1P1.host", "fresh")
	w.owe("fresh", "A")
	if op.ready != nil {
		op.ready(w)
	}
	w.count()
	*armed = true
}

func (w *dovecotWorld) newStore(watched bool) *Store {
	s := NewStore(Options{Host: "host.test", Log: quiet(), Idle: -1})
	if !watched {
		check(s.env.Watcher.Close())
	}
	return s
}

func (w *dovecotWorld) begin() (err error) {
	w.main, err = w.session("A")
	return err
}

func (w *dovecotWorld) session(name string) (*session, error) {
	m, err := w.a.Open(w.Context(), name)
	if err != nil {
		return nil, err
	}
	v, err := m.NewView(w.Context(), false, nil)
	if err != nil {
		m.Release()
		return nil, err
	}
	s := &session{m, v}
	w.list(s)
	return s, nil
}

func (s *session) close() {
	if s != nil {
		s.v.Close()
		s.Release()
	}
}

func (w *dovecotWorld) close() {
	w.main.close()
	w.other.close()
	if w.a != nil {
		w.a.Release()
	}
	check(w.store.Close())
	w.at.Kill()
	w.atB.Kill()
}

// justified reports whether the failure of an operation was unavoidable after what Dovecot
// did.
func (w *dovecotWorld) justified(err error, deed dovecotDeed) bool {
	switch {
	case errors.Is(err, folder.ErrExists):
		return deed.makes
	case errors.Is(err, mailbox.ErrReplaced), errors.Is(err, folder.ErrNotFound), errors.Is(err, folder.ErrHasChildren):
		return deed.folders
	case errors.Is(err, mailbox.ErrGone):
		return deed.removes
	}
	return false
}

var allUIDs = []mailbox.Range{{First: 1, Last: ^uint32(0)}}

// list records what one of our sessions can tell its client.
func (w *dovecotWorld) list(s *session) (lines []string) {
	for msg := range s.v.Messages(allUIDs, true) {
		text, err := textOf(s.v, msg)
		if err != nil {
			w.fault("we cannot read UID %d: %v", msg.UID, err)
		}
		if text == "" { // gone meanwhile
			continue
		}
		w.tell(s.v.UIDValidity(), msg.UID, text)
		lines = append(lines, fmt.Sprint(msg.UID, " ", text, " ", flagsOf(s.v, msg)))
	}
	return lines
}

func flagsOf(v *mailbox.View, msg mailbox.Message) (names []string) {
	for flag, name := range dovecotFlags {
		if msg.Flags&flag != 0 {
			names = append(names, name)
		}
	}
	msg.Flags.EachKeyword(func(i int) {
		if name, ok := v.KeywordName(i); ok {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}

// tell records that a client was told what a UID stands for.
func (w *dovecotWorld) tell(validity, uid uint32, text string) {
	f := dovecotFact{validity, uid}
	w.mu.Lock()
	was, known := w.facts[f]
	w.facts[f] = text
	w.mu.Unlock()
	if known && was != text {
		w.fault("UID %d of UIDVALIDITY %d is %s and was %s", uid, validity, text, was)
	}
}

var selectedValidity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)

// learn records what Dovecot says of the selected mailbox, and returns it.
func (w *dovecotWorld) learn(d *doveimap.Session, name string, selected []string) (validity uint32, lines []string) {
	for _, line := range selected {
		if m := selectedValidity.FindStringSubmatch(line); m != nil {
			_, err := fmt.Sscan(m[1], &validity)
			check(err)
		}
	}
	for _, m := range d.Messages() {
		if m.Subject == "" {
			w.fault("Dovecot has no text for UID %d of %s", m.UID, name)
		}
		w.tell(validity, m.UID, m.Subject)
		slices.Sort(m.Flags)
		lines = append(lines, fmt.Sprint(m.UID, " ", m.Subject, " ", m.Flags))
	}
	return validity, lines
}

// uids finds messages of A by text.
func (w *dovecotWorld) uids(v uint32, texts ...string) (uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f, text := range w.facts {
		if f.validity == v && slices.Contains(texts, text) && !w.removed[f] {
			uids = append(uids, f.uid)
		}
	}
	slices.Sort(uids)
	return uids
}

func (w *dovecotWorld) Context() context.Context { return context.Background() }
