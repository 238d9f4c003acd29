package mailbox

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
	"maildird/scripts/rig/failing"
)

var flagFaults = flag.Bool("faults", false, "have TestFaults try every error at every call, for some minutes")

// faulty is a folder, and another one to copy to, whose calls fail.
type faulty struct {
	t     *testing.T
	env   *Env
	f     *failing.Calls
	b, to *box
	m, d  *Mailbox
	c     *client
	told  map[*box]map[uint32]string // texts by the UIDs that somebody was told of
	uids  map[string]uint32          // in b, by text, before
	n     int

	before, toBefore map[string]string
	moved            Copied
	again, lasting   bool
}

func (w *faulty) open(b *box, env *Env, f *failing.Calls) (*Mailbox, error) {
	dir, err := dirfd.Open(b.path)
	must(w.t, err)
	if f != nil {
		dir.Before(f.Before)
	}
	m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
		v, settle, err := uidlist.TakeValidity(dir, env.Now(), true)
		return v, settle, err
	}, nil)
	if err != nil {
		_ = dir.Close()
	}
	return m, err
}

func newFaulty(t *testing.T, op *faultyOp) *faulty {
	w := &faulty{t: t, b: newBoxIn(t, failing.Dir(t)), to: newBoxIn(t, failing.Dir(t)), told: map[*box]map[uint32]string{}, uids: map[string]uint32{}}
	w.env = newEnv(t)
	w.env.Fsync, w.env.Delivery.Fsync = true, true
	late := time.Duration(0)
	w.env.Now = func() time.Time { return time.Now().Add(late) }
	for _, b := range []*box{w.b, w.to} {
		w.told[b] = map[uint32]string{}
		for _, flags := range []string{"", "S", "FS", "Ta", "RST"} {
			b.n++
			b.drop(fmt.Sprintf("cur/17%08d.M%dP1.%s:2,%s", b.n, b.n, filepath.Base(filepath.Dir(b.path)), flags))
		}
		must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("0 known\n"), 0o600))
	}
	if !op.fresh {
		for _, b := range []*box{w.b, w.to} {
			m, err := w.open(b, w.env, nil)
			must(t, err)
			m.Close()
		}
		late = time.Minute
	}
	w.f = failing.New(w.b.path, w.to.path)
	if op.fresh {
		w.before, w.toBefore = w.onDisk(w.b), w.onDisk(w.to)
		return w
	}
	var err error
	w.m, err = w.open(w.b, w.env, w.f)
	must(t, err)
	w.d, err = w.open(w.to, w.env, w.f)
	must(t, err)
	w.c = connect(t, w.m, false)
	for uid, text := range w.state(w.b, w.m) {
		w.uids[strings.SplitN(text, "|", 2)[0]] = uid
	}
	w.state(w.to, w.d)
	if op.prepare != nil {
		op.prepare(w)
	}
	w.before, w.toBefore = w.onDisk(w.b), w.onDisk(w.to)
	return w
}

func (w *faulty) close() {
	if w.c != nil {
		w.c.v.Close()
	}
	if w.m != nil {
		w.m.Close()
	}
	if w.d != nil {
		w.d.Close()
	}
}

// state returns what a session sees, by UID: text, flags and keywords. No UID may belong to
// a different message than before.
func (w *faulty) state(b *box, m *Mailbox) map[uint32]string {
	w.t.Helper()
	state, err := w.look(b, m)
	if err != nil {
		w.t.Errorf("cannot look at the mailbox: %v", err)
	}
	return state
}

func (w *faulty) look(b *box, m *Mailbox) (map[uint32]string, error) {
	v, err := m.NewView(ctx, true, nil)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	out := map[uint32]string{}
	for msg := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
		f, err := openText(v, msg)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
		must(w.t, err)
		must(w.t, f.Close())
		var words []string
		msg.Flags.EachKeyword(func(i int) {
			if name, ok := v.KeywordName(i); ok {
				words = append(words, name)
			}
		})
		out[msg.UID] = string(text) + "|" + strings.TrimPrefix(filename.WithFlags("", msg.Flags&^filename.Keywords), ":2,") + "|" + strings.Join(words, " ")
		if was, ok := w.told[b][msg.UID]; ok && was != string(text) {
			w.t.Errorf("UID %d was that of %q and is that of %q", msg.UID, was, text)
		}
		if msg.UID >= v.UIDNext() {
			w.t.Errorf("UID %d, the next one is %d", msg.UID, v.UIDNext())
		}
		w.told[b][msg.UID] = string(text)
	}
	return out, nil
}

// onDisk returns what is in the folder: flags and keywords by text.
func (w *faulty) onDisk(b *box) map[string]string {
	w.t.Helper()
	names := strings.Fields(strings.ReplaceAll(readOr(b.file("dovecot-keywords")), "\n", " "))
	out := map[string]string{}
	for rel := range b.files() {
		text, err := os.ReadFile(b.file(rel))
		must(w.t, err)
		flags := filename.FlagsOf(filepath.Base(rel))
		var words []string
		flags.EachKeyword(func(i int) {
			if k := slices.Index(names, fmt.Sprint(i)); k >= 0 {
				words = append(words, names[k+1])
			}
		})
		if _, again := out[string(text)]; again {
			w.t.Errorf("two files with %q", text)
		}
		out[string(text)] = strings.TrimPrefix(filename.WithFlags("", flags&^filename.Keywords), ":2,") + "|" + strings.Join(words, " ")
	}
	return out
}

func readOr(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func byText(state map[uint32]string) map[string]string {
	out := map[string]string{}
	for _, s := range state {
		text, rest, _ := strings.Cut(s, "|")
		out[text] = rest
	}
	return out
}

// agree compares an open mailbox, one that is opened now, and the files.
func (w *faulty) agree(when string, b *box, m *Mailbox) map[uint32]string {
	w.t.Helper()
	late, err := w.open(b, w.lateEnv(), w.f)
	if err != nil {
		w.t.Errorf("%s: cannot be opened anew: %v", when, err)
		return nil
	}
	defer late.Close()
	fresh := w.state(b, late)
	if m != nil {
		if open := w.state(b, m); !maps.Equal(open, fresh) {
			w.t.Errorf("%s: who has it open sees %v, who opens it %v", when, open, fresh)
		}
		if m.UIDValidity() != late.UIDValidity() || m.UIDNext() != late.UIDNext() {
			w.t.Errorf("%s: UIDVALIDITY %d and %d, UIDNEXT %d and %d", when, m.UIDValidity(), late.UIDValidity(), m.UIDNext(), late.UIDNext())
		}
	}
	if disk := w.onDisk(b); !maps.Equal(byText(fresh), disk) || len(fresh) != len(disk) {
		w.t.Errorf("%s: who opens it sees %v, on disk is %v", when, byText(fresh), disk)
	}
	return fresh
}

// lateEnv returns the environment of another process that shares the locks.
func (w *faulty) lateEnv() *Env {
	env := *w.env
	env.Cache = nil
	return &env
}

// leftovers returns files that should not exist when nobody is working on a folder.
func (b *box) leftovers() (names []string) {
	for _, pattern := range []string{"tmp/*", "*.lock*", "*.tmp*", "*.maildird*"} {
		found, err := filepath.Glob(b.file(pattern))
		must(b.t, err)
		names = append(names, found...)
	}
	return names
}

func text(i int, b *box) string {
	return fmt.Sprintf("Subject: 17%08d.M%dP1.%s", i, i, filepath.Base(filepath.Dir(b.path)))
}

// uid finds the message dropped as the i-th.
func (w *faulty) uid(is ...int) (uids []uint32) {
	for _, i := range is {
		for t, uid := range w.uids {
			if strings.HasPrefix(t, text(i, w.b)+":") || strings.HasPrefix(t, text(i, w.b)+"\n") {
				uids = append(uids, uid)
			}
		}
	}
	return uids
}

// duration is how long a fault lasts.
type duration uint8

const (
	once     duration = iota // one call fails
	onceThen                 // the same, and nobody but the same session looks before it goes on
	lasting                  // each call from one on
)

func (d duration) String() string { return [...]string{"once", "once, nobody looks", "lasting"}[d] }

// faultOf runs an operation in which a call fails, and returns the number of its calls.
func faultOf(t *testing.T, op *faultyOp, first int, d duration, reason error) (calls int) {
	w := newFaulty(t, op)
	defer w.close()
	w.lasting = d == lasting
	w.f.Begin(first, w.lasting, reason)
	err := op.run(w)
	calls, failed := w.f.End()
	if len(failed) == 0 && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("answer: %v\nfailed: %q\ncalls:\n%s", err, failed, w.f.Log())
		}
	}()
	if !*flagFaults { // the one of the operation that could not remove it; nobody has another
		for _, b := range []*box{w.b, w.to} {
			_ = os.Remove(b.file(uidlistLock))
		}
	}
	if err != nil {
		known := errors.Is(err, reason) || errors.Is(err, ErrReadOnly)
		// If the folder has no room for a lock, the log names it.
		if !known || !errors.Is(err, errNoRoom) && !strings.Contains(err.Error(), filepath.Dir(w.b.path)) && !strings.Contains(err.Error(), filepath.Dir(w.to.path)) {
			t.Errorf("the error does not tell what is wrong: %v", err)
		}
	} else {
		w.durable("done", op, true)
	}
	// What cannot be removed is left: the error or the log says so.
	stuck := d == lasting && slices.ContainsFunc(failed, func(call string) bool { return strings.HasPrefix(call, "remove ") })
	if text := w.onDisk(w.to); op.name == "MOVE" && d == lasting && err != nil && len(text) > len(w.toBefore) {
		stuck = true
	}
	if d != onceThen {
		w.agree("after the fault", w.b, w.m)
		w.agree("after the fault", w.to, w.d)
		if c := op.check(w, err != nil, w.onDisk(w.b), w.onDisk(w.to)); c != "" && !(stuck && strings.Contains(err.Error(), "removing")) {
			t.Errorf("after %v: %s", err, c)
		}
		if w.c != nil {
			w.c.poll(true)
		}
	}
	if w.again = true; err != nil && !stuck {
		if err := op.run(w); err != nil {
			t.Errorf("again: %v", err)
		} else if c := op.check(w, false, w.onDisk(w.b), w.onDisk(w.to)); c != "" {
			t.Errorf("again: %s", c)
		} else {
			w.durable("done again", op, false)
		}
	}
	for range 2 {
		if w.m != nil {
			must(t, w.append(1, AppendOptions{Keywords: []string{"late"}}))
			if names := slices.Concat(listNames(w, w.b), w.f.Missing(w.b.path, "dovecot-keywords")); len(names) > 0 {
				t.Errorf("a message was appended, and these are not durable: %q", names)
			}
		}
		if !stuck {
			w.agree("in the end", w.b, w.m)
			w.agree("in the end", w.to, w.d)
		}
	}
	for _, b := range []*box{w.b, w.to} {
		if names := b.leftovers(); len(names) > 0 && !stuck {
			t.Errorf("left behind: %q", names)
		}
	}
	return calls
}

// durable reports what is not durable after success. Names of messages whose durability
// alone failed are not recreated: that is impossible.
func (w *faulty) durable(when string, op *faultyOp, mail bool) {
	w.t.Helper()
	if op.settled == nil {
		return
	}
	names := op.settled(w)
	if !mail {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "cur/") || strings.HasPrefix(n, "new/") })
	}
	if len(names) > 0 {
		w.t.Errorf("%s, but not durable: %q", when, names)
	}
}

// TestFaults: whichever system call on a directory fails, with whatever error, once or from
// then on, nothing is lost, nothing is reported as done that is not, and everything works
// once the fault has ended.
func TestFaults(t *testing.T) {
	for i := range faultyOps {
		op := &faultyOps[i]
		t.Run(op.name, func(t *testing.T) {
			calls := faultOf(t, op, -1, once, nil)
			for first := range calls + 2 { // there may be some more
				for r, reason := range failing.Reasons {
					for _, d := range []duration{once, onceThen, lasting} {
						if !*flagFaults && (r != (first+i)%len(failing.Reasons) || d != duration(first%3)) {
							continue
						}
						t.Run(fmt.Sprintf("%d, %v, %s", first, reason, d), func(t *testing.T) {
							t.Parallel()
							faultOf(t, op, first, d, reason)
						})
					}
				}
			}
		})
	}
}
