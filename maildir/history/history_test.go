package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a clock that the test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Now()} }

const validity = 77

// model is a journal, and what a mailbox that reads it would know.
type model struct {
	*File
	t     testing.TB
	state map[uint32]Entry
}

func open(t testing.TB, path string, c *clock) *model {
	t.Helper()
	dir, err := dirfd.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	opt := Options{Fsync: true, Log: slog.New(slog.DiscardHandler), Now: c.now}
	return &model{File: New(dir, opt), t: t, state: map[uint32]Entry{}}
}

// refresh reads what others wrote, and starts a new history if there is none.
func (m *model) refresh() Change {
	m.t.Helper()
	change := m.Refresh(validity, func(f *Frame) {
		for _, s := range f.Changed {
			m.state[s.UID] = Entry{s, f.ModSeq, m.state[s.UID].Saved}
		}
		for _, s := range f.Saved {
			e := m.state[s.UID]
			e.Saved = s.At
			m.state[s.UID] = e
		}
		for _, r := range f.Gone {
			for uid := r.First; uid <= r.Last; uid++ {
				delete(m.state, uid)
			}
		}
	})
	if change == Missing {
		m.Begin(validity, 0)
		now := m.Next()
		for uid, e := range m.state {
			e.ModSeq = now
			m.state[uid] = e
		}
		must(m.t, m.Add(Frame{ModSeq: now}))
		m.tidy()
	}
	return change
}

func (m *model) tidy() {
	m.t.Helper()
	if !m.WantsRewrite(len(m.state)) {
		return
	}
	var live []Entry
	for _, e := range m.state {
		live = append(live, e)
	}
	must(m.t, m.Rewrite(live))
}

// keepFromRewriting makes every Rewrite fail until lift is called.
func (m *model) keepFromRewriting() (lift func()) {
	m.dir.Before(func(op, path string) error {
		if op == "create" {
			return syscall.EROFS
		}
		return nil
	})
	return func() { m.dir.Before(nil) }
}

// change sets flags and removes messages, and returns the mod-sequence.
func (m *model) change(set map[uint32]filename.Flags, gone ...uint32) uint64 {
	m.t.Helper()
	m.refresh()
	f := Frame{ModSeq: m.Next()}
	for uid, flags := range set {
		f.Changed = append(f.Changed, State{uid, flags})
		e, known := m.state[uid]
		if !known && uid%4 != 0 {
			e.Saved = uint32(m.opt.Now().Unix() - int64(uid%3)*40_000)
			f.Saved = append(f.Saved, Saved{uid, e.Saved})
		}
		m.state[uid] = Entry{State{uid, flags}, f.ModSeq, e.Saved}
	}
	slices.SortFunc(f.Saved, func(a, b Saved) int { return int(a.UID) - int(b.UID) })
	slices.SortFunc(f.Changed, func(a, b State) int { return int(a.UID) - int(b.UID) })
	for _, uid := range gone {
		f.Gone = append(f.Gone, Run{uid, uid})
		delete(m.state, uid)
	}
	must(m.t, m.Add(f))
	m.tidy()
	return f.ModSeq
}

// date assigns save dates to the messages that have none, which is not a change.
func (m *model) date() {
	m.t.Helper()
	m.refresh()
	f := Frame{ModSeq: m.Highest()}
	for uid, e := range m.state {
		if e.Saved == 0 {
			e.Saved = 1_700_000_000 + uid
			f.Saved = append(f.Saved, Saved{uid, e.Saved})
			m.state[uid] = e
		}
	}
	slices.SortFunc(f.Saved, func(a, b Saved) int { return int(a.UID) - int(b.UID) })
	must(m.t, m.Add(f))
	if m.Highest() != f.ModSeq {
		m.t.Fatalf("save dates changed the highest mod-sequence from %d to %d", f.ModSeq, m.Highest())
	}
}

func (m *model) same(o *model) {
	m.t.Helper()
	if len(m.state) != len(o.state) {
		m.t.Fatalf("one has %d messages, the other %d", len(m.state), len(o.state))
	}
	for uid, e := range m.state {
		if o.state[uid] != e {
			m.t.Fatalf("UID %d: %+v and %+v", uid, e, o.state[uid])
		}
	}
	if m.Highest() != o.Highest() || m.Accounted() != o.Accounted() {
		m.t.Fatalf("highest %d and %d, accounted %d and %d", m.Highest(), o.Highest(), m.Accounted(), o.Accounted())
	}
}

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

// sample makes a journal with some past and returns its highest mod-sequence, and advances
// the clock: file times may still show the previous time.
func sample(t testing.TB, path string, c *clock) (m *model, highest uint64) {
	m = open(t, path, c)
	m.change(map[uint32]filename.Flags{1: 0, 2: filename.Seen, 3: filename.Keywords, 7: 1})
	m.change(map[uint32]filename.Flags{2: 0}, 3)
	highest = m.change(map[uint32]filename.Flags{9: filename.Draft}, 1, 2)
	c.t = c.t.Add(time.Millisecond)
	return m, highest
}

// TestDamage cuts the journal at each byte and flips each byte. What was written at once
// counts as lost as a whole; of what was appended, the frames before the damage count, and
// what clients may have been told later does not. Mod-sequences assigned after that are above
// all earlier ones.
func TestDamage(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	must(t, m.Rewrite(slices.Collect(maps.Values(m.state))))
	m.change(map[uint32]filename.Flags{7: 3, 9: filename.Seen})
	highest := m.change(map[uint32]filename.Flags{10: 0}, 7)
	c.t = c.t.Add(time.Millisecond)
	file := filepath.Join(path, Name)
	whole, err := os.ReadFile(file)
	must(t, err)
	// The ends of frames: a file cut there is an older state of the journal.
	var ends []int
	fr := frameReader{r: bytes.NewReader(whole[headerSize:])}
	at := headerSize
	for ends = append(ends, at); ; ends = append(ends, at) {
		if _, err := fr.next(); errors.Is(err, io.EOF) {
			break
		} else {
			must(t, err)
		}
		at += frameHead + len(fr.payload)
	}
	if at != len(whole) || len(ends) < 4 {
		t.Fatalf("frames end at %v of %d", ends, len(whole))
	}
	try := func(what string, data []byte, want Change, lost bool) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
		must(t, err)
		_, err = f.Write(data) // keeps the inode
		must(t, errors.Join(err, f.Close()))
		late := open(t, path, c)
		change := late.Refresh(validity, func(*Frame) {})
		if change != want || late.EndLost() != lost {
			t.Fatalf("%s: %v, end lost: %v; want %v, %v", what, change, late.EndLost(), want, lost)
		}
		switch {
		case change == Missing:
			late.Begin(validity, 9)
		case lost:
			must(t, late.Add(Frame{ModSeq: late.Next()}))
			if !late.WantsRewrite(0) {
				t.Fatalf("%s: is to be appended to", what)
			}
		default:
			return
		}
		if late.Next() <= highest || late.Highest() <= highest {
			t.Fatalf("%s: goes on at %d, %d was given before", what, late.Next(), highest)
		}
		if _, exact := late.GoneSince(highest); exact != bytes.HasPrefix(data, whole) {
			t.Fatalf("%s: claims to know what was removed: %v", what, exact)
		}
	}
	for n := range whole {
		base, bad := n < int(m.h.base), slices.Clone(whole)
		bad[n] ^= 0x10
		if base {
			try(fmt.Sprintf("cut at %d", n), whole[:n], Missing, false)
			try(fmt.Sprintf("flipped at %d", n), bad, Missing, false)
		} else {
			try(fmt.Sprintf("cut at %d", n), whole[:n], Replaced, !slices.Contains(ends, n))
			try(fmt.Sprintf("flipped at %d", n), bad, Replaced, true)
		}
	}
	try("with zeros behind", append(slices.Clone(whole), make([]byte, 100)...), Replaced, true)
	try("whole", whole, Replaced, false)
	m.refresh()
}

// TestCutHeader cuts off the last octet of a header that ends in a zero, as one in 256
// checksums does.
func TestCutHeader(t *testing.T) {
	path, c := t.TempDir(), newClock()
	file, err := os.Create(filepath.Join(path, Name))
	must(t, err)
	defer file.Close()
	st, err := dirfd.FileStat(file)
	must(t, err)
	h := header{inode: st.Ino, since: 1, highest: 1, run: 1, base: headerSize, validity: validity}
	for h.encode()[headerSize-1] != 0 {
		h.highest++
	}
	_, err = file.Write(h.encode()[:headerSize-1])
	must(t, err)
	if change := open(t, path, c).Refresh(validity, func(*Frame) {}); change != Missing {
		t.Errorf("%v, want %v", change, Missing)
	}
}

// TestLoss: after a journal was deleted, copied, or replaced by that of another mailbox,
// mod-sequences start above those assigned before, even in a process that has it open.
func TestLoss(t *testing.T) {
	for name, lose := range map[string]func(file string, c *clock){
		"deleted": func(file string, _ *clock) { must(t, os.Remove(file)) },
		"copied": func(file string, _ *clock) {
			data, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file+".copy", data, 0o600))
			must(t, os.Rename(file+".copy", file))
		},
		"a directory": func(file string, _ *clock) {
			must(t, os.Remove(file))
			must(t, os.Symlink("/etc/passwd", file))
		},
		"deleted, and the clock is where it began": func(file string, c *clock) {
			must(t, os.Remove(file))
			must(t, os.Chtimes(filepath.Dir(file), c.t, c.t)) // when that was
			c.t = time.Unix(1000, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, c := t.TempDir(), newClock()
			m, highest := sample(t, path, c)
			lose(filepath.Join(path, Name), c)
			late := open(t, path, c)
			change := late.Refresh(validity, func(*Frame) {})
			if change != Missing {
				t.Fatalf("a new process finds %v", change)
			}
			late.Begin(validity, 9)
			if late.Next() <= highest {
				t.Errorf("a new process goes on at %d, %d was given", late.Next(), highest)
			}
			if change := m.refresh(); change != Missing {
				t.Errorf("the old process finds %v", change)
			}
			if next := m.change(map[uint32]filename.Flags{7: 2}); next <= highest {
				t.Errorf("the old process goes on at %d, %d was given", next, highest)
			}
		})
	}
}

// TestLostAgainAndAgain: however often and quickly the journal is lost, no mod-sequence is
// assigned twice.
func TestLostAgainAndAgain(t *testing.T) {
	path, c := t.TempDir(), &clock{time.Now().Add(time.Hour)}
	var last uint64
	for range 200 {
		m := open(t, path, c)
		m.refresh()
		for range 5 {
			c.t = c.t.Add(2 * time.Microsecond)
			next := m.change(map[uint32]filename.Flags{1: filename.Flags(last)})
			if next <= last {
				t.Fatalf("%d after %d", next, last)
			}
			last = next
		}
		must(t, os.Remove(filepath.Join(path, Name)))
	}
}

func TestOtherValidity(t *testing.T) {
	path, c := t.TempDir(), newClock()
	sample(t, path, c)
	late := open(t, path, c)
	change := late.Refresh(validity+1, func(*Frame) { t.Error("a frame was given") })
	if change != Missing {
		t.Errorf("the journal of another UIDVALIDITY is %v", change)
	}
}

// TestOtherVersion: a journal in an older format counts as lost.
func TestOtherVersion(t *testing.T) {
	path, c := t.TempDir(), newClock()
	_, highest := sample(t, path, c)
	file := filepath.Join(path, Name)
	data, err := os.ReadFile(file)
	must(t, err)
	data[7] = 1
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // keeps the inode
	must(t, err)
	_, err = f.Write(data)
	must(t, errors.Join(err, f.Close()))
	late := open(t, path, c)
	if change := late.Refresh(validity, func(*Frame) { t.Error("a frame was given") }); change != Missing {
		t.Errorf("is %v", change)
	}
	late.Begin(validity, 9)
	if late.Next() <= highest {
		t.Errorf("goes on at %d, %d was given", late.Next(), highest)
	}
	if _, err := decodeHeader(data); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("the reason is %v", err)
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

// FuzzRead reads any octets as a journal, both as they are and as the payload of a frame
// with a correct checksum: reading ends, the result is in order, and it is the same after
// it was written and read again.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	sample(f, dir, newClock())
	data, err := os.ReadFile(filepath.Join(dir, Name))
	must(f, err)
	f.Add(data)
	f.Add(data[headerSize:])
	f.Add(data[headerSize+frameHead:])
	f.Add(appendFrame(nil, 0, &Frame{ModSeq: maxModSeq, Changed: []State{{maxUID, ^filename.Flags(0)}}, Gone: []Run{{1, maxUID}}, Saved: []Saved{{1, 1}, {maxUID, 1<<32 - 1}}, gaps: []gap{{1, 1}, {3, maxModSeq}}, run: 1<<64 - 1}))
	f.Add([]byte{0xff, 0xff, 0x0f, 0, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFrames(t, data)
		framed := append(make([]byte, frameHead), data...)
		binary.LittleEndian.PutUint32(framed, uint32(len(data)))
		binary.LittleEndian.PutUint32(framed[4:], crc32.Checksum(data, castagnoli))
		checkFrames(t, framed)
		if h, err := decodeHeader(data); err == nil && !bytes.Equal(h.encode(), data[:headerSize]) {
			t.Fatalf("header %+v is written in another way", h)
		}
	})
}

func checkFrames(t *testing.T, data []byte) {
	fr := frameReader{r: bytes.NewReader(data)}
	var out []byte
	var before uint64
	var frames []Frame
	for {
		frame, err := fr.next()
		if err != nil {
			break
		}
		last := uint64(0)
		for _, s := range frame.Changed {
			if uint64(s.UID) <= last || s.UID > maxUID {
				t.Fatalf("UID %d after %d", s.UID, last)
			}
			last = uint64(s.UID)
		}
		last = 0
		for _, r := range frame.Gone {
			if uint64(r.First) <= last || r.Last < r.First || r.Last > maxUID {
				t.Fatalf("run %v after %d", r, last)
			}
			last = uint64(r.Last)
		}
		last = 0
		for _, s := range frame.Saved {
			if uint64(s.UID) <= last || s.UID > maxUID || s.At == 0 {
				t.Fatalf("save date %v after %d", s, last)
			}
			last = uint64(s.UID)
		}
		if frame.ModSeq < before || frame.ModSeq == 0 {
			t.Fatalf("mod-sequence %d after %d", frame.ModSeq, before)
		}
		out = appendFrame(out, before, frame)
		before = frame.ModSeq
		frames = append(frames, Frame{frame.ModSeq, slices.Clone(frame.Changed), slices.Clone(frame.Gone), slices.Clone(frame.Saved), slices.Clone(frame.Letters), slices.Clone(frame.gaps), frame.run})
	}
	again := frameReader{r: bytes.NewReader(out)}
	for _, want := range frames {
		got, err := again.next()
		if err != nil || got.ModSeq != want.ModSeq || !slices.Equal(got.Changed, want.Changed) || !slices.Equal(got.Gone, want.Gone) || !slices.Equal(got.Saved, want.Saved) || !slices.Equal(got.Letters, want.Letters) || !slices.Equal(got.gaps, want.gaps) || got.run != want.run {
			t.Fatalf("%+v is read again as %+v, %v", want, got, err)
		}
	}
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
