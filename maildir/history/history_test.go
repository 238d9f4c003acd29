package history

import (
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// TestShared lets two processes take turns at changing one journal, and others that come
// later read it.
func TestShared(t *testing.T) {
	path, c := t.TempDir(), newClock()
	a, b := open(t, path, c), open(t, path, c)
	rng := rand.New(rand.NewPCG(1, 2))
	var last uint64
	next := uint32(1)
	for step := range 1500 {
		m := []*model{a, b}[rng.IntN(2)]
		m.refresh()
		set := map[uint32]filename.Flags{}
		var gone []uint32
		if rng.IntN(3) == 0 || len(m.state) == 0 {
			set[next] = filename.Flags(rng.Uint32())
			next += 1 + uint32(rng.IntN(3))
		}
		for uid := range m.state {
			if rng.IntN(20) == 0 {
				set[uid] = filename.Flags(rng.Uint32N(64))
			} else if rng.IntN(40) == 0 {
				gone = append(gone, uid)
			}
		}
		slices.Sort(gone)
		c.t = c.t.Add(time.Duration(rng.IntN(3)) * time.Microsecond)
		if rng.IntN(200) == 0 {
			c.t = c.t.Add(-time.Minute)
		}
		modseq := m.change(set, gone...)
		if modseq <= last {
			t.Fatalf("step %d: mod-sequence %d after %d", step, modseq, last)
		}
		last = modseq
		if rng.IntN(30) == 0 {
			[]*model{a, b}[rng.IntN(2)].date()
		}
		if step%100 == 0 {
			a.refresh()
			b.refresh()
			a.same(b)
			late := open(t, path, c)
			if change := late.refresh(); change != Replaced {
				t.Fatalf("a new reader finds %v", change)
			}
			late.same(a)
			for _, since := range []uint64{0, a.h.since, last - 5, last - 1, last} {
				x, exact := a.GoneSince(since)
				y, too := late.GoneSince(since)
				if exact != too || !slices.Equal(x, y) {
					t.Fatalf("removed since %d: %v %v and %v %v", since, x, exact, y, too)
				}
			}
		}
	}
	st, err := os.Stat(filepath.Join(path, Name))
	must(t, err)
	if limit := int64(64 + 30*(3*(len(a.state)+len(a.gone))+1000)); st.Size() > limit {
		t.Errorf("the journal of %d messages has %d bytes", len(a.state), st.Size())
	}
}

// TestOneChange: a change of one message appends a few bytes, whatever the number of
// messages, and another process reads only these.
func TestOneChange(t *testing.T) {
	path, c := t.TempDir(), newClock()
	a, b := open(t, path, c), open(t, path, c)
	set := map[uint32]filename.Flags{}
	for uid := range uint32(100_000) {
		set[uid+1] = filename.Seen
	}
	a.change(set)
	b.refresh()
	before := a.size
	a.change(map[uint32]filename.Flags{50_000: filename.Flagged})
	if n := a.size - before; n > 24 {
		t.Errorf("one change took %d bytes", n)
	}
	if change := b.refresh(); change != Appended {
		t.Errorf("the other process finds %v, not Appended", change)
	}
	a.same(b)
	if change := b.refresh(); change != Unchanged {
		t.Errorf("and then %v, not Unchanged", change)
	}
}

// TestSameInode: a journal that another process rewrote twice may have the same inode
// number as the one that was read, and is read from its beginning.
func TestSameInode(t *testing.T) {
	path, c := t.TempDir(), newClock()
	name, old := filepath.Join(path, Name), filepath.Join(path, "old")
	a, _ := sample(t, path, c)
	must(t, os.Link(name, old))
	inode := a.inode

	b := open(t, path, c)
	b.refresh()
	for uid := range uint32(10) {
		b.change(map[uint32]filename.Flags{20 + uid: filename.Seen})
	}
	live := slices.SortedFunc(maps.Values(b.state), func(x, y Entry) int { return int(x.ModSeq) - int(y.ModSeq) })
	must(t, b.Rewrite(live))
	text, err := os.ReadFile(name)
	must(t, err)
	h, err := decodeHeader(text)
	must(t, err)
	if len(text) <= int(a.size) || h.inode == inode {
		t.Fatalf("the new journal has %d bytes and inode %d, the old one %d and %d", len(text), h.inode, a.size, inode)
	}
	h.inode = inode
	must(t, os.WriteFile(old, append(h.encode(), text[headerSize:]...), 0o600))
	must(t, os.Rename(old, name))

	if change := a.refresh(); change != Replaced {
		t.Errorf("the journal counts as %v, not Replaced", change)
	}
	a.same(b)
}

// TestSameInodeAndSize: it may also have the same size.
func TestSameInodeAndSize(t *testing.T) {
	path, c := t.TempDir(), newClock()
	name := filepath.Join(path, Name)
	a := open(t, path, c)
	a.change(map[uint32]filename.Flags{1: filename.Seen})

	elsewhere := t.TempDir()
	b := open(t, elsewhere, c)
	b.change(map[uint32]filename.Flags{1: filename.Draft})
	text, err := os.ReadFile(filepath.Join(elsewhere, Name))
	must(t, err)
	h, err := decodeHeader(text)
	must(t, err)
	if int64(len(text)) != a.size {
		t.Fatalf("the new journal has %d bytes, the old one %d", len(text), a.size)
	}
	h.inode = a.inode
	must(t, os.WriteFile(name, append(h.encode(), text[headerSize:]...), 0o600))
	must(t, os.Chtimes(name, time.Time{}, time.Now().Add(time.Second)))

	if !a.Stale() {
		t.Error("nobody is said to have written")
	}
	if change := a.refresh(); change != Replaced {
		t.Errorf("the journal counts as %v, not Replaced", change)
	}
	a.same(b)
}

// TestSameTime: another process may append within the granularity of the file system's
// clock, so that the time does not show it; and a process's own writes are not news to it.
func TestSameTime(t *testing.T) {
	path, c := t.TempDir(), newClock()
	a, b := open(t, path, c), open(t, path, c)
	a.change(map[uint32]filename.Flags{1: filename.Seen})
	if a.Stale() {
		t.Error("what it wrote anew counts as another's")
	}
	a.change(map[uint32]filename.Flags{1: 0})
	if a.Stale() {
		t.Error("what it appended counts as another's")
	}
	b.change(map[uint32]filename.Flags{1: filename.Draft})
	must(t, os.Chtimes(filepath.Join(path, Name), time.Time{}, a.mtime))
	if !a.Stale() {
		t.Error("nobody is said to have written")
	}
}

// TestBounded: the oldest removed messages are forgotten first, and it is known since when.
func TestBounded(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m := open(t, path, c)
	m.refresh()
	first := m.Highest()
	var runs []Run
	for i := range uint32(maxGone / 64) {
		runs = runs[:0]
		for k := range uint32(65) {
			runs = append(runs, Run{i*1000 + 2*k + 1, i*1000 + 2*k + 1})
		}
		must(t, m.Add(Frame{ModSeq: m.Next(), Gone: runs}))
		m.tidy()
	}
	if len(m.gone) > maxGone {
		t.Errorf("%d runs are remembered", len(m.gone))
	}
	if _, exact := m.GoneSince(first); exact {
		t.Error("claims to know all from the first on")
	}
	if got, exact := m.GoneSince(m.Highest() - 1); !exact || !slices.Equal(got, runs) {
		t.Errorf("the last change: %d runs, exact %v", len(got), exact)
	}
	got, exact := m.GoneSince(m.h.since)
	if !exact || len(got) < len(m.gone)-len(runs) {
		t.Errorf("since the bound: %d of %d runs, exact %v", len(got), len(m.gone), exact)
	}
	if _, exact := m.GoneSince(m.h.since - 1); exact {
		t.Error("claims to know more than the bound says")
	}
	late := open(t, path, c)
	late.refresh()
	if got, exact := late.GoneSince(m.Highest() - 1); !exact || !slices.Equal(got, runs) {
		t.Errorf("the last change, read again: %d runs, exact %v", len(got), exact)
	}
}

// TestWantsRewrite: the journal of a small mailbox is rewritten after thousands of changes only,
// that of a large one when most of it is out of date.
func TestWantsRewrite(t *testing.T) {
	for _, c := range []struct{ live, most int }{{1, 5000}, {1000, 7000}} {
		m := open(t, t.TempDir(), newClock())
		m.refresh()
		var all []State
		for uid := range c.live {
			all = append(all, State{uint32(uid + 1), 0})
		}
		changes := 0
		for ; !m.WantsRewrite(c.live); changes += c.live {
			must(t, m.Add(Frame{ModSeq: m.Next(), Changed: all}))
		}
		if late := changes - c.most; late <= 0 || late > 3*c.live {
			t.Errorf("%d messages: due after %d changes", c.live, changes)
		}
	}
}

// TestDiskDoesNotRespond: a history that cannot be examined at the moment is not given up.
func TestDiskDoesNotRespond(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	other := open(t, path, c)
	other.refresh()
	must(t, other.Add(Frame{ModSeq: other.Next(), Changed: []State{{7, 1}}}))
	for _, refused := range []string{"stat", "open"} {
		for _, f := range []*model{m, open(t, path, c)} {
			f.dir.Before(func(op, _ string) error {
				if op == refused {
					return dirfd.ErrNoAnswer
				}
				return nil
			})
			if change := f.Refresh(validity, func(*Frame) { t.Error("a frame was given") }); change != Unknown {
				t.Errorf("%s: %v", refused, change)
			}
			f.dir.Before(nil)
		}
	}
	if change := m.refresh(); change != Appended || m.state[7].Flags != 1 {
		t.Errorf("%v, %+v", change, m.state[7])
	}
}

// TestUnwritable: a change that cannot be written is still taken into account by this
// process; writing is retried, and the file is complete then.
func TestUnwritable(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	lift := m.keepFromRewriting()
	must(t, os.Remove(filepath.Join(path, Name)))
	change := m.Refresh(validity, func(*Frame) {})
	if change != Missing {
		t.Fatal(change)
	}
	m.Begin(validity, 9)
	next := m.Next()
	must(t, m.Add(Frame{ModSeq: next, Changed: []State{{7, 1}}}))
	m.state = map[uint32]Entry{7: {State{7, 1}, next, 0}}
	if err := m.Rewrite(nil); err == nil || m.Err() == nil {
		t.Fatal("Rewrite gives no error")
	}
	if m.WantsRewrite(1) {
		t.Error("tried again at once")
	}
	if change := m.refresh(); change != Unchanged {
		t.Errorf("not written is %v", change)
	}
	lift()
	c.t = c.t.Add(time.Minute)
	m.change(map[uint32]filename.Flags{11: 3})
	if m.Err() != nil {
		t.Errorf("still failing: %v", m.Err())
	}
	late := open(t, path, c)
	late.refresh()
	late.same(m)
}

func BenchmarkRead(b *testing.B) {
	path, c := b.TempDir(), newClock()
	m := open(b, path, c)
	m.opt.Fsync = false
	m.refresh()
	var live []Entry
	for uid := range uint32(100_000) {
		live = append(live, Entry{State{uid + 1, filename.Seen}, uint64(uid) + 1_000_000, uint32(uid) + 1_700_000_000})
	}
	must(b, m.Rewrite(live))
	for b.Loop() {
		late := New(m.dir, m.opt)
		late.Refresh(validity, func(*Frame) {})
	}
}

// TestToldOnce: a journal that is rejected is logged once, however often it is read; the
// next such file is logged again.
func TestToldOnce(t *testing.T) {
	path := t.TempDir()
	dir, err := dirfd.Open(path)
	must(t, err)
	defer dir.Close()
	var log strings.Builder
	f := New(dir, Options{Fsync: true, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now})
	for _, want := range []int{1, 1, 2, 2} {
		name := filepath.Join(path, Name)
		if strings.Count(log.String(), "cannot be used and starts anew") < want {
			must(t, os.WriteFile(name+".new", []byte("nonsense\n"), 0o600))
			must(t, os.Rename(name+".new", name)) // beside the old one: another inode
		}
		if change := f.Refresh(validity, func(*Frame) {}); change != Missing {
			t.Errorf("nonsense is %v", change)
		}
		if n := strings.Count(log.String(), "cannot be used and starts anew"); n != want {
			t.Errorf("%d lines, want %d:\n%s", n, want, log.String())
		}
	}
}
