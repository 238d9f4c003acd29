package history

import (
	"log/slog"
	"slices"
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
