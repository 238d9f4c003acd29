package mailbox

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
)

var (
	flagFor  = flag.Duration("for", 0, "how long TestInterleaved lets pairs of things happen by chance")
	flagSeed = flag.Uint64("seed", 0, "of these (default: from the clock)")
	flagStep = flag.Int("step", 0, "TestInterleaved has something happen before each so manieth call, in all settings (1: every call; default: some)")
)

// setting is how the mailbox is served.
type setting struct {
	watched, known, cached, fsync bool
	wait                          bool // the events of what others did have come before the operation goes on
}

func (s setting) String() string {
	return fmt.Sprintf("watched=%v known=%v cached=%v fsync=%v wait=%v", s.watched, s.known, s.cached, s.fsync, s.wait)
}

var settings = []setting{
	{watched: true, known: true, wait: true},
	{watched: true, known: true, cached: true},
	{watched: false, known: true, cached: true},
	{watched: true},
	{watched: false, fsync: true},
}

// TestInterleaved runs each operation once for every system call that it makes, and right
// before that call another program does one thing. Whatever it is, and whenever it happens:
// the operation completes, all sessions learn what the files say, and so does whoever opens
// the folder then, no UID ever stands for two messages, and nothing is lost or left behind.
func TestInterleaved(t *testing.T) {
	if *flagFor > 0 {
		byChance(t)
		return
	}
	files := openFiles(t)
	t.Run("all", func(t *testing.T) {
		for k, how := range settings {
			for i, op := range operations {
				if *flagStep == 0 && i%len(settings) != k {
					continue
				}
				t.Run(fmt.Sprintf("%v/%s", how, op.name), func(t *testing.T) {
					t.Parallel()
					interleave(t, how, op, i)
				})
			}
		}
	})
	for name := range openFiles(t) {
		if !files[name] {
			t.Errorf("left open: %s", name)
		}
	}
}

// interleave makes things happen before every flagStep-th call of an operation or, if that
// is 0, some of them before one call. k varies them between operations.
func interleave(t *testing.T, how setting, op operation, k int) {
	root := t.TempDir()
	n := runMeeting(t, root, how, op, nil).calls()
	at := k
	for i, what := range happenings(op) {
		if *flagStep == 0 {
			if what.at = (7*i + 3*k) % n; (i+k)%3 == 0 {
				runMeeting(t, root, how, op, []happening{what}).report()
			}
			continue
		}
		for ; at < n; at += *flagStep {
			what.at = at
			runMeeting(t, root, how, op, []happening{what}).report()
		}
		at -= n
	}
}

// TestInterleavedFound tests, before every call, the combinations that once went wrong
// before one of them.
func TestInterleavedFound(t *testing.T) {
	for _, c := range []struct{ op, other, text string }{
		{"move", "answers", "one"},                                 // a copy without the flags
		{"store one", "puts a directory in its place", "two"},      // which stayed in the mailbox
		{"store some", "puts another message in its place", "one"}, // whose size was told
		{"remove", "removes the list", ""},                         // of which nobody took note
		{"see a message again", "removes the list", ""},            // which could not be written then
		{"copy", "empties the list", ""},                           // which stayed empty
	} {
		t.Run(strings.TrimSpace(c.op+" while it "+c.other+" "+c.text), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			how := settings[0]
			op := operations[slices.IndexFunc(operations, func(op operation) bool { return op.name == c.op })]
			n := runMeeting(t, root, how, op, nil).calls()
			what := happening{text: c.text}
			what.other = &others[slices.IndexFunc(others, func(o other) bool { return o.name == c.other })]
			for what.at = range n {
				runMeeting(t, root, how, op, []happening{what}).report()
			}
		})
	}
}

// happening is what another program does before one call.
type happening struct {
	other *other
	text  string
	at    int
}

func (h happening) String() string {
	return fmt.Sprintf("%q before call %d", strings.TrimSpace(h.other.name+" "+h.text), h.at)
}

// happenings returns everything that may happen to an operation.
func happenings(op operation) (all []happening) {
	for i := range others {
		o := &others[i]
		if !o.about {
			all = append(all, happening{other: o})
			continue
		}
		for _, text := range op.on {
			all = append(all, happening{other: o, text: text})
		}
	}
	return all
}

// byChance makes several things happen in one operation.
func byChance(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	end := time.Now().Add(*flagFor)
	for worker := range uint64(4) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, worker))
			root := t.TempDir()
			runs := 0
			for ; time.Now().Before(end); runs++ {
				how, op := settings[rng.IntN(len(settings))], operations[rng.IntN(len(operations))]
				all := happenings(op)
				var some []happening
				for range 2 + rng.IntN(2) {
					one := all[rng.IntN(len(all))]
					one.at = rng.IntN(60)
					some = append(some, one)
				}
				slices.SortFunc(some, func(a, b happening) int { return a.at - b.at })
				if !apart(op, some) {
					continue
				}
				runMeeting(t, root, how, op, some).report()
			}
			t.Logf("%d meetings", runs)
		})
	}
}

// apart reports whether several things may happen to one operation. Another process that
// finds the folder without its list, or with an older one, is right to assign other UIDs;
// so is one that opens a folder whose list lost its end and whose history is gone, because
// nothing says which UIDs were assigned; and of two messages with the same base, one takes
// the place of the other when that goes.
func apart(op operation, some []happening) bool {
	lists, process, cut, history := false, false, false, false
	for _, h := range some {
		lists = lists || strings.Contains(h.other.name, "the list") || strings.Contains(h.other.name, "the history")
		process = process || h.other.process
		cut = cut || h.other.name == "cuts the list short" || h.other.name == "puts back the list"
		history = history || h.other.name == "removes the history"
		if strings.Contains(h.other.name, "under its base") {
			return false
		}
	}
	return (!lists || !process) && !(op.opens && cut && history)
}

// runMeeting runs an operation in a new folder.
func runMeeting(t *testing.T, root string, how setting, op operation, what []happening) *meeting {
	root = filepath.Join(root, "run")
	defer os.RemoveAll(root)
	stuck := time.AfterFunc(2*time.Minute, func() { panic(fmt.Sprintf("%v: %s while %v does not end", how, op.name, what)) })
	defer stuck.Stop()
	r := newMeeting(t, root, how)
	r.reopened, r.waits = op.opens, how.wait
	r.what = fmt.Sprintf("%v: %s while %v", how, op.name, what)
	defer r.close()
	if err := r.ready(!op.shut); err != nil {
		t.Fatal(err)
	}
	for _, h := range what {
		if h.other.ready != nil {
			h.other.ready(r)
		}
	}
	if op.ready != nil {
		op.ready(r)
	}
	for _, h := range what {
		before := r.acts[h.at]
		r.acts[h.at] = func() {
			if before != nil {
				before()
			}
			if r.ended != "" {
				return
			}
			h.other.do(r, h.text)
			for i := 0; how.wait && i < 20 && !r.env.Watcher.Barrier(ctx); i++ { // not for ever: the call may be made with m.mu held
			}
		}
	}
	r.arm(true)
	err := op.do(r)
	r.arm(false)
	switch {
	case err != nil && !r.justified(op, err):
		r.fault("%v", err)
	case err != nil && op.opens && r.ended == "":
		r.openAgain()
	}
	r.check()
	return r
}

// justified reports whether the failure of an operation was unavoidable after what others
// did.
func (r *meeting) justified(op operation, err error) bool {
	switch {
	case errors.Is(err, ErrReplaced):
		return r.ended != ""
	case errors.Is(err, ErrGone):
		return slices.ContainsFunc(op.on, r.mayMiss)
	case errors.Is(err, dirfd.ErrNotRegular), errors.Is(err, syscall.EISDIR):
		return r.odd
	}
	// The list was written without its lock.
	return r.lists && strings.Contains(err.Error(), "without regard to its lock")
}

// calls returns the number of calls of the operation.
func (r *meeting) calls() int { return len(r.trace) }

// report fails the test with what is wrong.
func (r *meeting) report() {
	if len(r.faults) > 0 {
		r.t.Errorf("%s:\n  %s\ncalls:\n  %s\nlog:\n%s", r.what, strings.Join(r.faults, "\n  "), strings.Join(r.trace, "\n  "), r.logged())
	}
}

// openFiles returns the files that the process has open.
func openFiles(t testing.TB) map[string]bool {
	out := map[string]bool{}
	some, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, one := range some {
		if to, err := os.Readlink("/proc/self/fd/" + one.Name()); err == nil {
			out[one.Name()+" "+to] = true
		}
	}
	return out
}
