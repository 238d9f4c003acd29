package maildir

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/folder"
	"maildird/scripts/rig"
	"maildird/scripts/rig/doveimap"
)

var (
	flagSeed  = flag.Uint64("seed", 0, "of TestLives and TestInterleaveDovecot, instead of the usual ones")
	flagSteps = flag.Int("steps", 0, "of TestLives, instead of the usual number")
)

// TestLives lets two processes with their clients, programs that know of no server, and in
// every second run a real Dovecot, work on one Maildir, one step at a time. Meanwhile folders
// are renamed, copied and removed, snapshots are restored, lists, histories, keywords and
// caches are lost or replaced by old ones, processes restart, and clocks are set back. Clients
// disconnect and come back, ask only for what they missed, and must then know exactly what is
// in the files (check in lives_client_test.go). A UID stands for one message forever,
// UIDVALIDITY changes only for a reason, UIDNEXT and HIGHESTMODSEQ never decrease, and no
// message is lost that nobody removed.
//
//	go test ./maildir -run TestLives -args -seed 17 -steps 5000
func TestLives(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6}
	if *flagSeed != 0 {
		seeds = []uint64{*flagSeed}
	} else if testing.Short() {
		seeds = seeds[:2]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { live(t, seed) })
	}
}

func live(t *testing.T, seed uint64) {
	w := &lives{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), root: doveimap.Maildir(t), caches: t.TempDir(), backups: t.TempDir(),
		dovecot: seed%2 == 0, folders: map[string]*lineage{"INBOX": newLineage()}, life: 1,
	}
	defer func() {
		if t.Failed() {
			t.Logf("what happened:\n  %s", strings.Join(w.trail[max(0, len(w.trail)-120):], "\n  "))
			return
		}
		for i := range w.stores {
			w.end(i)
		}
	}()
	for i := range w.stores {
		w.begin(i)
	}
	for range 5 {
		w.clients = append(w.clients, &liveClient{w: w})
	}
	steps := *flagSteps
	if steps == 0 {
		steps = 250
	}
	for i := range steps {
		w.did("--- %d", i)
		w.step()
	}
	for _, c := range w.clients {
		if c.v == nil {
			c.come()
		}
		c.check()
	}
}

// lives is a Maildir and the programs that work on it.
type lives struct {
	t       *testing.T
	rng     *rand.Rand
	root    string
	caches  string
	backups string
	dovecot bool
	stores  [2]*Store
	behind  atomic.Int64 // how far the clock of both is behind, in nanoseconds
	n       int          // number of messages and names so far
	folders map[string]*lineage
	clients []*liveClient
	latest  string // snapshot
	then    map[string]*lineage
	life    int // 1, and one more with each restore
	trail   []string
}

// lineage is what clients were told about a folder, under all its names.
type lineage struct {
	uids    map[told]string // content
	highest map[uint32]uint64
	next    map[uint32]uint32
	newUIDs bool // UIDVALIDITY may change
	blind   bool // its history was lost, and nobody has opened it since
	// lost is the life of the Maildir, counted by lives.life, in which its list was lost.
	lost int
}

type told struct{ validity, uid uint32 }

func newLineage() *lineage {
	return &lineage{uids: map[told]string{}, highest: map[uint32]uint64{}, next: map[uint32]uint32{}}
}

func (l *lineage) clone() *lineage {
	return &lineage{uids: maps.Clone(l.uids), highest: map[uint32]uint64{}, next: map[uint32]uint32{}, lost: l.lost}
}

func (w *lives) did(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), w.root+"/", "")
	w.trail = append(w.trail, strings.ReplaceAll(line, strings.Repeat("x", 200), "xx.."))
}

func (w *lives) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *lives) begin(i int) {
	w.stores[i] = NewStore(Options{
		Host: "host.test", Log: slog.New(slog.DiscardHandler), Fsync: w.rng.IntN(8) == 0, CacheDir: w.caches,
		Now: func() time.Time { return time.Now().Add(-time.Duration(w.behind.Load())) },
	})
}

// end stops a process.
func (w *lives) end(i int) {
	for _, c := range w.clients {
		if c.v != nil && c.at == i {
			c.leave()
		}
	}
	if err := w.stores[i].Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *lives) account(i int) *Account {
	opt := AccountOptions{Root: w.root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}}
	if id := rig.Self(); os.Geteuid() == 0 {
		opt.Owner = &Owner{UID: id.UID, GID: id.GID}
	}
	a, err := w.stores[i].Account(context.Background(), opt)
	w.must(err)
	return a
}

func (w *lives) path(name string) string {
	if name == "INBOX" {
		return w.root
	}
	return filepath.Join(w.root, "."+strings.ReplaceAll(name, "/", "."))
}

func (w *lives) names() []string { return slices.Sorted(maps.Keys(w.folders)) }

func (w *lives) anyFolder() string {
	names := w.names()
	return names[w.rng.IntN(len(names))]
}

// other returns any folder except INBOX, "" if there is none.
func (w *lives) other() string {
	if names := w.names(); len(names) > 1 {
		return names[1:][w.rng.IntN(len(names)-1)] // INBOX sorts first
	}
	return ""
}

func (w *lives) freshName() string {
	w.n++
	return fmt.Sprint([]string{"X/", "a b ", "Z"}[w.rng.IntN(3)], w.n)
}

// file is one message on disk.
type file struct{ path, sub, name, content string }

func (w *lives) files(name string) (all []file) {
	for _, sub := range []string{"new", "cur"} {
		dir := filepath.Join(w.path(name), sub)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		w.must(err)
		for _, e := range entries {
			if e.Name()[0] == '.' {
				continue
			}
			path := filepath.Join(dir, e.Name())
			text, err := os.ReadFile(path)
			w.must(err)
			all = append(all, file{path, sub, e.Name(), subject(string(text))})
		}
	}
	return all
}

func subject(text string) string {
	_, rest, _ := strings.Cut(text, "Subject: ")
	s, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(s)
}

// contents counts all messages of the Maildir.
func (w *lives) contents() map[string]int { return w.count(slices.Collect(maps.Keys(w.folders))...) }

// count counts the messages of some folders; "" stands for one that is gone.
func (w *lives) count(names ...string) map[string]int {
	n := map[string]int{}
	for _, name := range names {
		if name == "" {
			continue
		}
		for _, f := range w.files(name) {
			n[f.content]++
		}
	}
	return n
}

// words returns the names of a folder's keyword letters.
func (w *lives) words(name string) (words [filename.MaxKeywords]string) {
	data, _ := os.ReadFile(filepath.Join(w.path(name), "dovecot-keywords"))
	for line := range strings.Lines(string(data)) {
		index, word, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(words) {
			words[i] = word
		}
	}
	return words
}

func flagText(f filename.Flags, word func(int) string) string {
	var words []string
	f.EachKeyword(func(i int) {
		if name := word(i); name != "" {
			words = append(words, name)
		}
	})
	slices.Sort(words)
	system := f &^ filename.Keywords &^ filename.Passed
	return strings.TrimPrefix(filename.WithFlags("", system), ":2,") + fmt.Sprint(words)
}

// state returns what the files of a folder say, in random order.
func (w *lives) state(name string) (all []string) {
	words := w.words(name)
	for _, f := range w.files(name) {
		all = append(all, f.content+" "+flagText(filename.FlagsOf(f.name), func(i int) string { return words[i] }))
	}
	slices.Sort(all)
	return all
}

// quietly does something that must neither lose nor create messages except those in delta.
func (w *lives) quietly(what string, do func() (delta map[string]int)) {
	w.t.Helper()
	before := w.contents()
	for content, n := range do() {
		before[content] += n
	}
	maps.DeleteFunc(before, func(_ string, n int) bool { return n == 0 })
	if after := w.contents(); !maps.Equal(before, after) {
		for content := range before {
			if before[content] != after[content] {
				w.t.Errorf("%s: message %q is there %d times, want %d", what, content, after[content], before[content])
			}
		}
		w.t.Fatalf("%s: there are %d messages, want %d", what, len(after), len(before))
	}
}

func (w *lives) step() {
	switch n := w.rng.IntN(100); {
	case n < 30:
		c := w.clients[w.rng.IntN(len(w.clients))]
		w.quietly("a client comes, listens or goes", func() map[string]int { c.comeAndGo(); return nil })
	case n < 50:
		c := w.clients[w.rng.IntN(len(w.clients))]
		if c.v != nil {
			w.quietly("a client", c.act)
		}
	case n < 70:
		w.stranger()
	case n < 78:
		w.quietly("a change of folders", w.changeFolders)
	case n < 83:
		w.moveFolders()
	case n < 87:
		w.restart()
	case n < 94:
		w.lose()
	case n < 96:
		w.backUp()
	case n < 99 && w.dovecot:
		w.askDovecot()
	default:
		behind := time.Duration(w.rng.IntN(3)) * 20 * time.Minute
		w.behind.Store(int64(behind))
		w.did("the clock is %v behind", behind)
	}
}

// settled lets both processes learn what was done to the folders.
func (w *lives) settled() {
	for _, s := range w.stores {
		s.env.Watcher.Barrier(context.Background())
	}
}

func (w *lives) flags() filename.Flags {
	f := filename.Flags(w.rng.Uint32()) & (filename.Seen | filename.Flagged | filename.Answered | filename.Deleted)
	if w.rng.IntN(2) == 0 {
		f |= filename.Flags(w.rng.Uint32()) & (filename.Keyword(0) | filename.Keyword(1) | filename.Keyword(2))
	}
	return f
}

// put creates a file as other programs do.
func (w *lives) put(path, content string) {
	temp := filepath.Join(w.root, "tmp", "put")
	w.must(os.WriteFile(temp, []byte("Subject: "+content+"\n\nhello\n"), 0o600))
	w.must(rig.Own(temp))
	if w.rng.IntN(3) == 0 {
		old := time.Now().Add(-time.Duration(w.rng.IntN(1e6)) * time.Second)
		w.must(os.Chtimes(temp, old, old))
	}
	if err := os.Link(temp, path); err != nil && !errors.Is(err, os.ErrExist) {
		w.must(err)
	}
	w.must(os.Remove(temp))
}

// stranger changes files as mutt, cp and rm do.
func (w *lives) stranger() {
	name := w.anyFolder()
	dir := w.path(name)
	w.n++
	base, content := fmt.Sprintf("17%08d.M%dP1.other", w.n, w.n), fmt.Sprint("m", w.n)
	files := w.files(name)
	if len(files) == 0 || w.rng.IntN(3) == 0 {
		switch w.rng.IntN(8) {
		case 0:
			base = fmt.Sprintf("%d.M%dP1.other,S=%d", w.n, w.n, 24) // a wrong size, and a time in 1970
		case 1:
			base = fmt.Sprintf("17%08d.%s", w.n, strings.Repeat("x", 225+w.rng.IntN(18)))
			if w.dovecot { // Dovecot moves it to cur/, and cannot open it there if ":2," does not fit
				base = base[:min(len(base), 255-len(":2,"))]
			}
		case 2:
			base = ":2,S" // an empty base
		}
		to := filepath.Join(dir, "new", base)
		if w.rng.IntN(2) == 0 {
			to = filepath.Join(dir, "cur", filename.WithFlags(base, w.flags()))
		}
		if len(filepath.Base(to)) > 255 {
			return
		}
		w.did("put %s", to)
		w.put(to, content)
		return
	}
	f := files[w.rng.IntN(len(files))]
	flagged := filename.WithFlags(f.name, w.flags())
	if len(flagged) > 255 {
		flagged = f.name
	}
	to := filepath.Join(dir, "cur", flagged)
	elsewhere := w.anyFolder()
	switch w.rng.IntN(6) {
	case 0:
		w.did("rm %s", f.path)
		w.must(os.Remove(f.path))
	case 1: // another message with the same base
		at := filepath.Join(dir, "new", filename.Base(f.name))
		if filename.Base(f.name) == "" {
			return
		}
		w.look(name) // a process that opens the folder only now may take either for the first one
		w.did("put %s beside %s", at, f.path)
		w.put(at, content)
		w.look(name)
	case 2, 3:
		if _, err := os.Lstat(to); err != nil {
			w.did("mv %s %s", f.path, to)
			w.must(os.Rename(f.path, to))
		}
	case 4, 5: // to another folder
		to = filepath.Join(w.path(elsewhere), "cur", flagged)
		if _, err := os.Lstat(to); err == nil || elsewhere == name || w.linked(f, elsewhere) {
			return
		}
		if w.rng.IntN(2) == 0 {
			w.did("mv %s %s", f.path, to)
			w.must(os.Rename(f.path, to))
		} else {
			w.did("cp -a %s %s", f.path, to)
			w.run("cp", "-a", f.path, to)
		}
	}
}

// linked reports whether a file has a hard link in a folder, as a copy by a client has. Two
// links with one base in the same folder would be one message.
func (w *lives) linked(f file, name string) bool {
	st, err := os.Lstat(f.path)
	w.must(err)
	return slices.ContainsFunc(w.files(name), func(g file) bool {
		other, err := os.Lstat(g.path)
		w.must(err)
		return os.SameFile(st, other)
	})
}

// look makes a process look at a folder.
func (w *lives) look(name string) {
	a := w.account(0)
	defer a.Release()
	m, err := a.Open(context.Background(), name)
	w.must(err)
	defer m.Release()
	w.must(m.Poll(context.Background()))
}

func (w *lives) run(name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// note checks that a UID stands for only one message.
func (l *lineage) note(t *testing.T, who string, u told, content string) {
	t.Helper()
	if old, ok := l.uids[u]; ok && old != content {
		t.Fatalf("%s says that UID %d of %d is %q, it was %q", who, u.uid, u.validity, content, old)
	}
	l.uids[u] = content
}
