package history

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"maildird/maildir/filename"
)

// folder is a mail folder on a machine that loses power now and then, and the clients that
// remember it.
type folder struct {
	t       testing.TB
	rng     *rand.Rand
	path    string
	clock   *clock
	run     uint64
	files   map[uint32]filename.Flags // by UID
	next    uint32                    // UID
	clients []visitor
}

// visitor is what a client was told: the files at a mod-sequence.
type visitor struct {
	modseq uint64
	files  map[uint32]filename.Flags
}

func (d *folder) file() string { return filepath.Join(d.path, Name) }
func (d *folder) old() string  { return filepath.Join(d.path, "old") }

// start returns the journal as a new process opens it.
func (d *folder) start(memo []byte) *model {
	m := open(d.t, d.path, d.clock)
	m.run = d.run
	if memo != nil {
		// A mailbox that recalls a memo has the messages in a snapshot of its own.
		reader := open(d.t, d.path, d.clock)
		reader.run = d.run
		reader.Refresh(validity, reader.take)
		if ok, same := m.Recall(memo, validity); ok && same && reader.begun {
			m.state = reader.state
		} else if ok {
			m.begun = false
		}
	}
	return m
}

// settle brings the journal in step with the files, as a mailbox does.
func (d *folder) settle(m *model) {
	d.t.Helper()
	if m.Refresh(validity, m.take) == Missing {
		m.Begin(validity, d.next-1)
		for uid, e := range m.state {
			e.Flags = ^d.files[uid] // differs
			m.state[uid] = e
		}
	}
	var f Frame
	gone := map[uint32]bool{}
	for uid := m.Accounted() + 1; uid < d.next; uid++ {
		gone[uid] = true
	}
	for uid := range m.state {
		gone[uid] = true
	}
	for uid, flags := range d.files {
		if e, known := m.state[uid]; !known || e.Flags != flags {
			f.Changed = append(f.Changed, State{uid, flags})
		}
		delete(gone, uid)
	}
	slices.SortFunc(f.Changed, func(a, b State) int { return int(a.UID) - int(b.UID) })
	for _, uid := range slices.Sorted(maps.Keys(gone)) {
		f.Gone = append(f.Gone, Run{uid, uid})
	}
	if len(f.Changed)+len(f.Gone) > 0 || m.EndLost() {
		f.ModSeq = m.Next()
		must(d.t, m.Add(f))
		m.take(&f)
	}
	if m.WantsRewrite(len(m.state)) || d.rng.IntN(30) == 0 {
		_ = os.Remove(d.old())
		if err := os.Link(d.file(), d.old()); err == nil {
			must(d.t, os.Chtimes(d.file(), time.Time{}, time.Now()))
		}
		must(d.t, m.Rewrite(slices.Collect(maps.Values(m.state))))
	}
}

// take takes over a frame.
func (m *model) take(f *Frame) {
	for _, s := range f.Changed {
		m.state[s.UID] = Entry{State: s, ModSeq: f.ModSeq}
	}
	for _, r := range f.Gone {
		for uid := r.First; uid <= r.Last; uid++ {
			delete(m.state, uid)
		}
	}
}

// change changes the files.
func (d *folder) change() {
	for range 1 + d.rng.IntN(3) {
		switch uid := 1 + d.rng.Uint32N(d.next); {
		case d.rng.IntN(4) == 0:
			d.files[d.next] = filename.Flags(d.rng.Uint32N(4))
			d.next++
		case d.rng.IntN(5) == 0:
			delete(d.files, uid)
		default:
			if _, ok := d.files[uid]; ok {
				d.files[uid] = filename.Flags(d.rng.Uint32N(4))
			}
		}
	}
}

// crash ends the run of the machine. The journal loses what was written last, and the files
// partly become what they were at some time, unless the journal knows that they were removed.
func (d *folder) crash() {
	d.run++
	d.clock.t = d.clock.t.Add(time.Second)
	if d.rng.IntN(3) == 0 {
		if err := os.Rename(d.old(), d.file()); err == nil {
			must(d.t, os.Chtimes(d.file(), time.Time{}, time.Now()))
		}
	}
	if data, err := os.ReadFile(d.file()); err == nil {
		h, err := decodeHeader(data)
		must(d.t, err)
		at := int(h.base) + d.rng.IntN(len(data)-int(h.base)+1)
		switch kept := slices.Clone(data[:at]); d.rng.IntN(4) {
		case 0:
			data = append(kept, make([]byte, len(data)-at)...)
		case 1: // a hole
			end := at + d.rng.IntN(len(data)-at+1)
			data = append(append(kept, make([]byte, end-at)...), data[end:]...)
		case 2:
			data = kept
		}
		f, err := os.OpenFile(d.file(), os.O_WRONLY|os.O_TRUNC, 0)
		must(d.t, err)
		_, err = f.Write(data) // keeps the inode
		must(d.t, errors.Join(err, f.Close()))
	}
	left := d.start(nil)
	left.Refresh(validity, left.take)
	if len(d.clients) == 0 {
		return
	}
	before := d.clients[d.rng.IntN(len(d.clients))].files
	for uid := uint32(1); uid < d.next; uid++ {
		if d.rng.IntN(3) > 0 {
			continue
		}
		flags, was := before[uid]
		_, known := left.state[uid]
		if was && (known || uid > left.Accounted()) {
			d.files[uid] = flags
		} else if !was {
			delete(d.files, uid)
		}
	}
}

// ask has a client return that was told something.
func (d *folder) ask(m *model, c visitor) error {
	since := c.modseq
	if !m.Knows(since) {
		since = 0
	}
	for uid, flags := range d.files {
		if was, known := c.files[uid]; (!known || was != flags) && m.state[uid].ModSeq <= since {
			return fmt.Errorf("UID %d changed at %d, a client that knows %d is not told", uid, m.state[uid].ModSeq, c.modseq)
		}
	}
	runs, exact := m.GoneSince(c.modseq)
	for uid := range c.files {
		if _, there := d.files[uid]; !there && exact && !slices.ContainsFunc(runs, func(r Run) bool { return r.First <= uid && uid <= r.Last }) {
			return fmt.Errorf("UID %d is gone, a client that knows %d is not told", uid, c.modseq)
		}
	}
	return nil
}

// TestRuns: whatever a crash of the machine leaves of the journal and of the files, clients
// that return are told of every message whose state differs from what they were told. They
// are told of little else: what is in the journal stays known.
func TestRuns(t *testing.T) {
	all, unknown := 0, 0
	for seed := range uint64(12) {
		d := &folder{t: t, rng: rand.New(rand.NewPCG(seed, 7)), path: t.TempDir(), clock: newClock(), run: 1, files: map[uint32]filename.Flags{}, next: 1}
		processes := []*model{d.start(nil), d.start(nil)}
		for step := range 300 {
			d.clock.t = d.clock.t.Add(time.Duration(5+d.rng.IntN(1000)) * time.Microsecond)
			i := d.rng.IntN(len(processes))
			switch d.rng.IntN(20) {
			case 0, 1:
				d.crash()
				var memo []byte
				if d.rng.IntN(2) == 0 {
					memo, _ = processes[i].Memo()
				}
				processes = []*model{d.start(memo), d.start(nil)}
				i = 0
			case 2:
				memo, _ := processes[i].Memo()
				processes[i] = d.start(memo)
			}
			d.change()
			m := processes[i]
			d.settle(m)
			for _, c := range d.clients {
				if err := d.ask(m, c); err != nil {
					t.Fatalf("seed %d, step %d: %v; gaps %v", seed, step, err, m.gaps)
				}
				all++
				if !m.Knows(c.modseq) {
					unknown++
				}
			}
			if m.Highest() < slices.MaxFunc(append(d.clients, visitor{}), func(a, b visitor) int { return int(a.modseq) - int(b.modseq) }).modseq {
				t.Fatalf("seed %d, step %d: the highest mod-sequence went back to %d", seed, step, m.Highest())
			}
			d.clients = append(d.clients, visitor{m.Highest(), maps.Clone(d.files)})
			if len(d.clients) > 60 {
				d.clients = slices.Delete(d.clients, d.rng.IntN(60), 60)[:min(59, len(d.clients))]
			}
		}
	}
	t.Logf("%d questions, %d of them about what is not known", all, unknown)
	if unknown == 0 || unknown > all/2 {
		t.Errorf("of %d clients, %d asked for what is not known", all, unknown)
	}
}

// TestAnotherRun: in another run of the machine, the journal counts up to its end; what
// clients were told beyond that is not known, also after a rewrite.
func TestAnotherRun(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, highest := sample(t, path, c)
	if m.Knows(highest+1) || !m.Knows(highest) {
		t.Error("knows what was never told, or does not know what was")
	}
	late := open(t, path, c)
	late.run = m.run + 2
	if change := late.refresh(); change != Replaced || !late.EndLost() || !late.Stale() {
		t.Fatalf("%v, end lost: %v", change, late.EndLost())
	}
	if _, ok := late.Memo(); ok {
		t.Error("gives a memo before the frame that is missing")
	}
	next := late.Next()
	if ahead := next - fromClock(c.t); ahead < lead {
		t.Errorf("goes on only %d µs from the clock", ahead)
	}
	size := late.size
	must(t, late.Add(Frame{ModSeq: next}))
	if late.EndLost() || late.size == size {
		t.Errorf("end lost: %v, the frame took %d bytes", late.EndLost(), late.size-size)
	}
	check := func(what string, f *File) {
		t.Helper()
		for modseq, want := range map[uint64]bool{highest - 1: true, highest: true, highest + 1: false, next - 1: false, next: true, next + 1: false} {
			if f.Knows(modseq) != want {
				t.Errorf("%s: knows %d: %v", what, modseq, !want)
			}
			if _, exact := f.GoneSince(modseq); exact != want {
				t.Errorf("%s: knows what was removed after %d: %v", what, modseq, exact)
			}
		}
	}
	check("who wrote it", late.File)
	read := func(what string) *model {
		again := open(t, path, c)
		again.run = late.run
		if change := again.refresh(); change != Replaced || again.EndLost() {
			t.Errorf("%s: %v, end lost: %v", what, change, again.EndLost())
		}
		check(what, again.File)
		return again
	}
	read("a reader")
	must(t, late.Rewrite(slices.Collect(maps.Values(late.state))))
	check("after the rewrite", late.File)
	again := read("a reader after the rewrite")
	memo, _ := again.Memo()
	recalled := open(t, path, c)
	recalled.run = late.run
	if ok, same := recalled.Recall(memo, validity); !ok || !same {
		t.Errorf("recalled: %v, %v", ok, same)
	}
	check("recalled", recalled.File)
}

// TestManyRuns: a limited number of gaps is remembered, the oldest ones as one.
func TestManyRuns(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, first := sample(t, path, c)
	var told []uint64
	for range maxGaps + 10 {
		told = append(told, m.Highest())
		c.t = c.t.Add(time.Hour)
		again := open(t, path, c)
		again.run = m.run + 2
		m = again
		m.refresh()
		must(t, m.Add(Frame{ModSeq: m.Next()}))
	}
	late := open(t, path, c)
	late.run = m.run
	late.refresh()
	for _, f := range []*File{m.File, late.File} {
		if len(f.gaps) != maxGaps || !f.Knows(first) || f.Knows(first+1) || f.Knows(told[10]) || !f.Knows(told[11]) || !f.Knows(m.Highest()) {
			t.Errorf("%d gaps: %v", len(f.gaps), f.gaps)
		}
	}
}

// TestPartOfChange: if the journal ends with the first part of a change, the mod-sequence of
// the change is not known.
func TestPartOfChange(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, before := sample(t, path, c)
	size := m.size
	var f Frame
	for uid := range uint32(maxList + 10) {
		f.Changed = append(f.Changed, State{10 + uid, 1})
	}
	f.ModSeq = m.Next()
	must(t, m.Add(f))
	short := appendFrame(nil, m.last, &Frame{ModSeq: f.ModSeq, Changed: f.Changed[maxList:]})
	must(t, os.Truncate(filepath.Join(path, Name), m.size-int64(len(short))))
	late := open(t, path, c)
	late.run = m.run + 2
	late.refresh()
	if late.size <= size || late.Highest() != f.ModSeq {
		t.Fatalf("%d bytes, highest %d: the first part is not there", late.size, late.Highest())
	}
	must(t, late.Add(Frame{ModSeq: late.Next()}))
	if !late.Knows(before) || late.Knows(f.ModSeq) {
		t.Errorf("knows what was before: %v, the change: %v", late.Knows(before), late.Knows(f.ModSeq))
	}
}
