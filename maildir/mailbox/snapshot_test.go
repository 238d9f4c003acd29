package mailbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// keeping returns an environment with a cache in dir.
func keeping(t testing.TB, dir string) *Env {
	env := newEnv(t)
	env.Cache = cache.New(cache.Options{Dir: dir, Log: env.Log})
	t.Cleanup(func() { must(t, env.Cache.Close()) })
	return env
}

// snapshotFile returns the snapshot in a cache that has one mailbox, "" if there is none.
func snapshotFile(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "messages", "*.whole"))
	must(t, err)
	if len(files) == 0 {
		return ""
	}
	return files[0]
}

// settle waits until the times of the folder's directories and files are in the past.
func (b *box) settle() {
	b.t.Helper()
	past := time.Now().Add(-time.Minute)
	_ = os.Chtimes(b.file("dovecot-uidlist"), past, past)
	for _, d := range []string{"new", "cur"} {
		must(b.t, os.Chtimes(b.file(d), past, past))
	}
}

// told returns everything that a view says, as text.
func told(t testing.TB, m *Mailbox) []string {
	t.Helper()
	v, err := m.NewView(ctx, true, nil)
	must(t, err)
	defer v.Close()
	out := []string{fmt.Sprintf("exists %d, recent %d, unseen %d, next %d, validity %d, modseq %d, last %d, words %v",
		v.Exists(), v.Recent(), v.FirstUnseen(), v.UIDNext(), v.UIDValidity(), v.HighestModSeq(), v.LastUID(), v.KeywordNames())}
	st, err := m.Status(ctx, false, nil)
	must(t, err)
	out = append(out, fmt.Sprintf("%+v", st))
	for msg := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
		e, err := m.location(msg)
		must(t, err)
		out = append(out, fmt.Sprintf("%d %d %x %v %d %s %d %s", msg.Seq, msg.UID, msg.Flags, msg.Recent, msg.ModSeq, v.GUID(msg), e.where, e.name))
	}
	return out
}

// TestSnapshotResumes: a folder that has not changed is opened without reading any of it,
// and one that has is read once.
func TestSnapshotResumes(t *testing.T) {
	dir := t.TempDir()
	b, env := newBox(t), keeping(t, dir)
	for range 600 {
		b.drop("cur/")
	}
	m := b.open(env)
	want := told(t, m)
	b.settle()
	must(t, m.Poll(ctx))
	m.Close()
	resumed := func() *Mailbox {
		t.Helper()
		m := b.open(env)
		if m.snap.state == nil {
			t.Fatal("the folder was read anew")
		}
		return m
	}
	// What the last look wrote may be too recent, or events may lag behind: then the folder
	// is listed once more.
	m = resumed()
	must(t, m.Poll(ctx))
	m.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		m = resumed()
		left := m.t.Unread()
		if left == 4 { // three pages and one block of slots
			break
		}
		m.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%d parts of the table are yet to be read, want all 4", left)
		}
		time.Sleep(2 * dirfd.FineGrain)
	}
	// Whoever opens a folder considers only what is in new/ recent.
	if d := difference(unrecent(told(t, m)), unrecent(want)); d != "" {
		t.Error(d)
	}
	m.Close()
	name := "17" + fmt.Sprintf("%08d.M%dP1.other:2,", 300, 300)
	b.rename("cur/"+name, "cur/"+name+"F")
	m = resumed()
	defer m.Close()
	v, err := m.NewView(ctx, true, nil)
	must(t, err)
	defer v.Close()
	n := 0
	for msg := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
		if msg.Flags == filename.Flagged {
			n++
		}
	}
	if n != 1 || v.Exists() != 600 {
		t.Errorf("%d of %d messages have the flag that one got", n, v.Exists())
	}
}

// TestSnapshotChangesNothing lets everyone change a folder while nobody has it open, and
// compares what is reported with a snapshot, whatever happened to that, with what is
// reported without one.
func TestSnapshotChangesNothing(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), b: newBox(t), uids: map[uint32]string{}}
			with, without := keeping(t, dir), newEnv(t)
			for range 240 + w.rng.IntN(60) {
				w.b.drop([]string{"new/", "cur/", "cur/", "cur/"}[w.rng.IntN(4)])
			}
			var old []byte
			for round := range 16 {
				if w.rng.IntN(3) > 0 {
					w.away(without)
				}
				if w.rng.IntN(2) > 0 {
					w.b.settle()
				}
				what := w.spoil(dir, &old)
				// Whoever sees a message first has it as \Recent, and the other does not.
				known := w.rng.IntN(2) == 0
				if known {
					m := w.b.open(without)
					told(t, m)
					m.Close()
				}
				m := w.b.open(with)
				got, ok := w.toldOr(m)
				m.Close()
				if !ok { // it ended: the next one is not to know of it
					m = w.b.open(with)
					got, ok = w.toldOr(m)
					m.Close()
				}
				m = w.b.open(without)
				want := told(t, m)
				m.Close()
				if !known {
					got, want = unrecent(got), unrecent(want)
				}
				if d := difference(got, want); !ok || d != "" {
					t.Fatalf("round %d, snapshot %s, ended %v:\n%s", round, what, !ok, d)
				}
			}
		})
	}
}

var recents = regexp.MustCompile(`recent \d+|Recent:\d+|true`)

func unrecent(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = recents.ReplaceAllString(l, "false")
		out[i] = strings.Replace(out[i], "recent false", "false", 1)
	}
	return out
}

// difference returns the lines that only one of the two has.
func difference(got, want []string) string {
	if slices.Equal(got, want) {
		return ""
	}
	var d []string
	for _, l := range got {
		if !slices.Contains(want, l) {
			d = append(d, "with:    "+l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			d = append(d, "without: "+l)
		}
	}
	d = append(d, "or another order")
	return strings.Join(d[:min(len(d), 20)], "\n")
}

// toldOr is told; ok is false if the mailbox ended meanwhile.
func (w *world) toldOr(m *Mailbox) (got []string, ok bool) {
	w.t.Helper()
	v, err := m.NewView(ctx, true, nil)
	if errors.Is(err, ErrReplaced) {
		return nil, false
	}
	must(w.t, err)
	for range v.Messages([]Range{{1, ^uint32(0)}}, true) { // reads all of the table
	}
	v.Close()
	m.t.Lookup("nothing")
	if m.check() != nil {
		return nil, false
	}
	return told(w.t, m), true
}

// away does what may happen to a folder while this process does not have it open.
func (w *world) away(other *Env) {
	for range 1 + w.rng.IntN(3) {
		switch w.rng.IntN(9) {
		case 0:
			w.b.drop("new/")
		case 1:
			w.b.drop("cur/")
		case 2, 3:
			if f := w.anyFile(); f != "" {
				w.b.rename(f, "cur/"+filename.WithFlags(filepath.Base(f), filename.Flags(w.rng.Uint32())&(filename.Seen|filename.Flagged|filename.Deleted|filename.Keyword(0))))
			}
		case 4:
			if f := w.anyFile(); f != "" {
				w.b.remove(f)
			}
		case 5:
			m := w.b.open(other)
			c := connect(w.t, m, false)
			if len(c.uids) > 0 {
				uid := c.uids[w.rng.IntN(len(c.uids))]
				_, err := c.v.Store(ctx, []uint32{uid}, Add, filename.Deleted, []string{"word"})
				must(w.t, err)
				_, err = c.v.Expunge(ctx, nil)
				must(w.t, err)
			}
			c.v.Close()
			m.Close()
		case 6:
			if w.rng.IntN(4) == 0 {
				_ = os.Remove(w.b.file(history.Name))
			}
		case 7:
			if w.rng.IntN(4) == 0 {
				_ = os.Remove(w.b.file("dovecot-uidlist"))
			}
		case 8:
			must(w.t, os.WriteFile(w.b.file("dovecot-keywords"), []byte("0 word\n1 other\n"), 0o600))
		}
	}
}

// spoil usually does something to the snapshot.
func (w *world) spoil(dir string, old *[]byte) string {
	file := snapshotFile(w.t, dir)
	if file == "" {
		return "missing"
	}
	data, err := os.ReadFile(file)
	must(w.t, err)
	st, err := os.Stat(file)
	must(w.t, err)
	put := func(b []byte) { must(w.t, os.WriteFile(file, b, 0o600)) }
	date := func(t time.Time) { must(w.t, os.Chtimes(file, t, t)) }
	switch w.rng.IntN(8) {
	case 0:
		must(w.t, os.Remove(file))
		return "removed"
	case 1:
		put(data[:w.rng.IntN(len(data))])
		return "cut off"
	case 2, 3:
		data[w.rng.IntN(len(data))] ^= 1 << w.rng.IntN(8)
		put(data)
		if w.rng.IntN(2) == 0 {
			date(st.ModTime())
			return "damaged, with its date"
		}
		return "damaged"
	case 4:
		if *old != nil {
			put(*old)
			return "an old one"
		}
		*old = data
	case 5:
		put(append(data, 0))
		date(st.ModTime())
		return "longer"
	}
	return "as it was"
}

// TestSnapshotOfAnotherFolder: what was known of a folder is not used for one that replaced
// it.
func TestSnapshotOfAnotherFolder(t *testing.T) {
	dir := t.TempDir()
	b, env := newBox(t), keeping(t, dir)
	b.drop("cur/")
	b.settle()
	m := b.open(env)
	m.Close()
	must(t, os.Rename(b.file("cur"), b.file("old")))
	must(t, os.Mkdir(b.file("cur"), 0o700))
	b.settle()
	m = b.open(env)
	defer m.Close()
	if st, err := m.Status(ctx, false, nil); err != nil || st.Messages != 0 {
		t.Errorf("the folder has %d messages, %v, want none", st.Messages, err)
	}
}

// TestSnapshotReadOnly: a folder that cannot be written is reported as such even if there
// is a snapshot from when it could.
func TestSnapshotReadOnly(t *testing.T) {
	b, env := newBox(t), keeping(t, t.TempDir())
	writable := readOnlyBox(b)
	writable(true)
	b.drop("cur/")
	b.open(env).Close()
	b.settle()
	b.open(env).Close()
	writable(false)
	defer writable(true)
	m := b.open(env)
	defer m.Close()
	v, err := m.NewView(ctx, false, nil)
	must(t, err)
	defer v.Close()
	if !v.ReadOnly() {
		t.Error("the view may be changed")
	}
}

// TestSnapshotAtOnce: a folder whose uidlist was written just before the end is not listed
// again either.
func TestSnapshotAtOnce(t *testing.T) {
	b, env := newBox(t), keeping(t, t.TempDir())
	must(t, env.Watcher.Close()) // events could be late
	b.drop("cur/")
	b.settle()
	b.open(env).Close()
	m := b.open(env)
	defer m.Close()
	if m.watch.quit == nil { // a folder that is listed is watched before
		t.Error("the folder was listed although nothing changed")
	}
}
