package history

import (
	"errors"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// limitFiles keeps the files that this process writes from growing beyond that size, until
// the returned function is called.
func limitFiles(t *testing.T, size int64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(size), Max: old.Max}))
	return func() {
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
		signal.Reset(syscall.SIGXFSZ)
	}
}

// TestOnlyInMemory: changes that could not be written are known only to the process that made
// them. If it ends, and everything is undone meanwhile, the next one does not claim to know
// what happened since a mod-sequence that clients were told of them.
func TestOnlyInMemory(t *testing.T) {
	fails := map[string]func(t *testing.T, m *model) (lift func()){
		"cannot append": func(t *testing.T, m *model) func() {
			write, rewrite := limitFiles(t, m.size+1), m.keepFromRewriting()
			return func() {
				write()
				rewrite()
			}
		},
		"cannot sync": func(t *testing.T, m *model) func() {
			m.opt.DataSync = func(*dirfd.File) error { return errors.New("the disk fails") }
			if m.Sync() == nil {
				t.Fatal("no error")
			}
			return func() {}
		},
	}
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			path, c := t.TempDir(), newClock()
			m, before := sample(t, path, c)
			lift := fail(t, m)
			var told []uint64
			for flags := range filename.Flags(2) {
				c.t = c.t.Add(time.Second)
				next := m.Next()
				_ = m.Add(Frame{ModSeq: next, Changed: []State{{2, flags}}})
				told = append(told, next)
				if m.refresh() != Unchanged || m.EndLost() || !m.Knows(next) {
					t.Fatalf("the process itself does not know %d", next)
				}
			}
			lift()
			if m.Err() == nil {
				t.Fatal("no error")
			}
			c.t = c.t.Add(time.Second)
			late := open(t, path, c)
			if change := late.refresh(); change != Replaced || !late.Knows(before) {
				t.Fatalf("%v, knows what was written: %v", change, late.Knows(before))
			}
			now := late.change(map[uint32]filename.Flags{50: 1})
			for _, modseq := range told {
				if late.Knows(modseq) {
					t.Errorf("knows %d, which the process before did not write", modseq)
				}
			}
			if !late.Knows(now) || late.Err() != nil {
				t.Errorf("does not know its own, error %v", late.Err())
			}
			if change := m.refresh(); change != Replaced || m.Err() != nil || m.EndLost() {
				t.Errorf("the first process: %v, error %v, end lost %v", change, m.Err(), m.EndLost())
			}
		})
	}
}
