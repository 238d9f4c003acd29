package maildir

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/quota"
	"maildird/scripts/rig/leaks"
)

var (
	flagInterleave = flag.String("interleave", "", "of TestInterleave: a regular expression; instead of the usual ones, what has it in \"layout: operation / action\"")
	flagStep       = flag.Int("step", 1, "of TestInterleave: how many calls of an operation there are to one that an action is tried before")
)

// interleaved are the operations and actions that once had an impossible result, and the
// calls before which that happened; and some of two maildirds.
var interleaved = []struct{ op, other, at string }{
	{"create A/N", "rm -r A", "N/tmp"},
	{"rename A to R", "rm -r A", "rename alice/"},
	{"rename A to R", "rm -r A/B", "rename alice/"},
	{"rename D to X/Y", "mv D Q", "rename alice/"},
	{"rename INBOX to Q", "rm a message in INBOX", "1700000001"},
	{"delete A/B/C", "rm -r A/B/C", "B/C"},
	{"list", "mv A/B R", "list"},
	{"list", "mv D Q", "list"},
	{"list", "rm -r D", "alice/D"},
	{"status A", "maildird: delete A", "A/tmp"},
	{"select A", "A/cur becomes a symbolic link", "open directory alice/A/cur"},
	{"annotate D /private/specialuse", "rm maildird-specialuse", "open alice/maildird-specialuse"},
	{"create A/N", "maildird: check --repair", "N/"},
	{"delete A", "maildird: check --repair", "alice/A/"},
	{"renew the access key of A", "maildird: delete A", "maildird-urlauth"},
	{"rename A to R", "maildird: create A/N", "alice/"},
	{"rename D to X/Y", "maildird: create X/Y/Z", "alice/"},
	{"delete A", "maildird: rename A to R", "alice/"},
	{"subscribe X true", "maildird: subscribe D false", "alice/"},
	{"annotate A /private/comment", "maildird: rename A to R", "alice/"},
	{"deliver with a quota", "maildird: deliver with a quota", "alice/"},
	{"deliver the first message", "maildird: deliver the first message", "alice"},
}

// mostCalls is how many of the calls are tested.
const mostCalls = 4

// TestInterleave lets another program do one thing to a Maildir right before each system
// call, in turn, of one operation on it. The result has to be one that is possible if the
// two happen one after the other: both the answer to the user, and what a process that
// starts afterwards shows of the tree. No UID that anybody was told stands for another
// message, nothing outside of the Maildir is touched, and no lock, temporary file or open
// file is left.
//
// All operations with all actions take hours: -args -interleave . -step 10
func TestInterleave(t *testing.T) {
	for _, layout := range []string{folder.LayoutMaildirPP, folder.LayoutFS} {
		x := newExplorer(t, layout)
		if *flagInterleave == "" {
			for _, c := range interleaved {
				op, other := named(operations, operation.String, c.op), named(others, action.String, c.other)
				x.explore(op, other, x.callsAt(op, c.at))
			}
			continue
		}
		only := regexp.MustCompile(*flagInterleave)
		for _, op := range operations {
			for i, other := range others {
				if only.MatchString(layout + ": " + op.name + " / " + other.name) {
					x.explore(op, other, every(i%*flagStep, *flagStep))
				}
			}
		}
		t.Logf("%s: %d interleavings", layout, x.runs)
	}
	leaks.None(t)
}

func (op operation) String() string { return op.name }

func (a action) String() string { return a.name }

func named[T any](all []T, name func(T) string, want string) T {
	return all[slices.IndexFunc(all, func(one T) bool { return name(one) == want })]
}

// every returns every step-th call, beginning with first.
func every(first, step int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for call := first; yield(call); call += step {
		}
	}
}

// callsAt returns some of an operation's calls that contain a text.
func (x *explorer) callsAt(op operation, text string) iter.Seq[int] {
	var calls []int
	for call, at := range x.run(op, func(int, *world) {}).at {
		if strings.Contains(at, text) {
			calls = append(calls, call)
		}
	}
	return func(yield func(int) bool) {
		for i := range min(mostCalls, len(calls)) {
			if !yield(calls[i*len(calls)/min(mostCalls, len(calls))]) {
				return
			}
		}
	}
}

// operation is one thing that a client requests.
type operation struct {
	name string
	do   func(w *world, a *Account) (result string, err error)
	// pieces means that lines of the result are looked up one at a time.
	pieces bool
	fresh  bool   // there is no Maildir yet
	moves  string // the mailbox that it renames
	quota  quota.Limit
}

// action is one thing that another program does. It may fail, since its object may not
// exist.
type action struct {
	name string
	do   func(w *world)
	// lost means that the result may be as if nothing had been done: the action takes no
	// lock of a file that is read and then replaced.
	lost    bool
	refuses bool // the operation may fail, and then nothing of it is done
	// loose, if not nil, removes what does not matter from an outcome.
	loose func(text string) string
}

type explorer struct {
	*testing.T
	layout   string
	template string // what every world is a copy of
	place    string // path of the template
	runs     int
}

func newExplorer(t *testing.T, layout string) *explorer {
	x := &explorer{T: t, layout: layout, template: t.TempDir(), place: t.TempDir() + "/world"}
	makeTemplate(x)
	return x
}

// outcome is the result of an operation and an action.
type outcome struct{ result, state string }

// explore tests an action before some of the calls of an operation, up to the last one.
func (x *explorer) explore(op operation, other action, calls iter.Seq[int]) {
	legal := x.legal(op, other)
	for call := range calls {
		w := x.run(op, func(n int, w *world) {
			if n == call {
				other.do(w)
			}
		})
		if w.calls <= call {
			return
		}
		x.judge(fmt.Sprintf("%s: %s / %s before %d %s", x.layout, op.name, other.name, call, w.at[call]), op, w, legal, other)
	}
}

// legal returns the outcomes of an operation and actions one after another.
func (x *explorer) legal(op operation, others ...action) []outcome {
	var all []outcome
	orders := [][]int{{0, 1}, {1, 0}}
	switch len(others) {
	case 0:
		orders = [][]int{{0}}
	case 2:
		orders = [][]int{{0, 1, 2}, {1, 0, 2}, {1, 2, 0}} // the second comes after the first
	}
	for _, order := range orders {
		w := x.world(op)
		if op.fresh {
			check(os.Mkdir(w.root, 0o700)) // as there is one before most calls
		}
		for _, which := range order {
			if which == 0 {
				w.operate(op, nil)
			} else {
				others[which-1].do(w)
			}
		}
		w.finish()
		all = append(all, w.outcome)
	}
	return all
}

// fewer adds the outcomes that are legal if an action has no effect, because it finds a lock or
// takes none.
func (x *explorer) fewer(legal []outcome, op operation, w *world, others []action) []outcome {
	for i, other := range others {
		if w.blocked || other.lost {
			rest := slices.Delete(slices.Clone(others), i, i+1)
			legal = append(legal, x.fewer(x.legal(op, rest...), op, w, rest)...)
		}
	}
	return legal
}

func (x *explorer) run(op operation, at func(call int, w *world)) *world {
	w := x.world(op)
	w.operate(op, at)
	w.finish()
	x.runs++
	return w
}

func (x *explorer) judge(name string, op operation, w *world, legal []outcome, others ...action) {
	for _, fault := range w.faults {
		x.Errorf("%s: %s", name, fault)
	}
	if !slices.Contains(legal, w.outcome) {
		legal = x.fewer(slices.Clip(legal), op, w, others)
	}
	for _, other := range others {
		if op.moves != "" && strings.HasPrefix(other.name, op.moves) && strings.Contains(other.name, " becomes a ") {
			return
		}
	}
	got := w.outcome.loose(others)
	for _, l := range legal {
		l = l.loose(others)
		if got == l || op.pieces && got.state == l.state && fromPieces(got.result, legal, others) {
			return
		}
	}
	if w.layout == folder.LayoutMaildirPP && op.moves != "" && got.result == "OK" && fromPieces(withoutMarks(got.state), legal, others) {
		return // folder by folder
	}
	for _, other := range others {
		if other.refuses && w.result != "OK" && (op.fresh || slices.ContainsFunc(append(legal, x.alone(op, other)), func(l outcome) bool { return l.state == w.state })) {
			return
		}
	}
	var text strings.Builder
	for i, l := range legal {
		if !slices.Contains(legal[:i], l) {
			fmt.Fprintf(&text, "\n or %s", l)
		}
	}
	x.Errorf("%s: the outcome is\n    %s\nand not%s", name, w.outcome, strings.TrimPrefix(text.String(), "\n or"))
}

// alone returns the outcome of an action without an operation.
func (x *explorer) alone(op operation, other action) outcome {
	w := x.world(op)
	other.do(w)
	w.finish()
	return w.outcome
}

// fromPieces reports whether each line of a text is one of the legal ones.
func fromPieces(text string, legal []outcome, others []action) bool {
	known := map[string]bool{}
	for _, l := range legal {
		l = l.loose(others)
		for line := range strings.SplitSeq(l.result+"\n"+l.state+withoutMarks(l.state), "\n") {
			known[line] = true
		}
	}
	return !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return !known[line] })
}

var marks = regexp.MustCompile(`(?m)^(\S+) [NXCS]+`)

// withoutMarks removes from a state what depends on other mailboxes.
func withoutMarks(state string) string { return marks.ReplaceAllString(state, "$1") }

// loose returns the outcome without what does not matter if actions were done.
func (o outcome) loose(others []action) outcome {
	for _, other := range others {
		if other.loose != nil {
			o = outcome{other.loose(o.result), other.loose(o.state)}
		}
	}
	return o
}

func (o outcome) String() string {
	return strings.ReplaceAll("answer "+o.result+"\n"+o.state, "\n", "\n    ")
}

// operate does the operation in a process of its own.
func (w *world) operate(op operation, at func(call int, w *world)) {
	w.quota = op.quota
	var mu sync.Mutex
	var before func(op, path string) error
	if at != nil {
		before = func(op, path string) error {
			mu.Lock()
			defer mu.Unlock()
			w.at = append(w.at, op+" "+strings.TrimPrefix(path, w.dir+"/"))
			w.calls++
			at(w.calls-1, w)
			return nil
		}
	}
	s := w.store()
	defer w.close(s)
	w.before = before
	a, err := s.Account(w.Context(), w.account(w.root))
	result := ""
	if err == nil {
		result, err = op.do(w, a)
		a.Release()
	}
	w.before = nil
	w.result = class(err)
	if err != nil && strings.HasPrefix(w.result, "ERROR") {
		w.result += " " + strings.ReplaceAll(err.Error(), w.dir, "")
	}
	if result != "" {
		w.result += "\n" + result
	}
}

// class returns what a client is told of an error, as far as it matters here.
func class(err error) string {
	switch {
	case err == nil, errors.Is(err, folder.ErrLeftover):
		return "OK"
	case errors.Is(err, quota.ErrOver):
		return "OVERQUOTA"
	case errors.Is(err, mailbox.ErrReplaced), errors.Is(err, folder.ErrNotFound), errors.Is(err, folder.ErrExists),
		errors.Is(err, folder.ErrHasChildren):
		return "REFUSED" // as the tree is not what it would have to be
	case errors.Is(err, mailbox.ErrGone):
		return "GONE"
	case errors.Is(err, folder.ErrInbox), errors.Is(err, folder.ErrName), errors.Is(err, folder.ErrSpecialUse):
		return "CANNOT"
	case errors.Is(err, folder.ErrLocked), errors.Is(err, dotlock.ErrLocked), errors.Is(err, context.DeadlineExceeded):
		return "INUSE"
	}
	return "ERROR"
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// textOf reads what the view shows of a message; "" if it is gone.
func textOf(v *mailbox.View, msg mailbox.Message) (string, error) {
	var f mailbox.File
	err := v.Open(&f, msg, func(int64) []byte { return nil })
	if errors.Is(err, mailbox.ErrGone) || errors.Is(err, mailbox.ErrReplaced) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text := make([]byte, f.Size)
	_, err = f.ReadAt(text, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return subject(string(text)), errors.Join(err, f.Close())
}

func openFilesNow() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(names)
}
