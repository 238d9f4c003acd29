package mailbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// withoutLock makes the lock of a folder fail with an error.
func withoutLock(err error) *hooked {
	return &hooked{wrong: func(op, path string) error {
		if op == "access" && err != syscall.ENOSPC || op == "create" && strings.HasSuffix(path, uidlistLock) {
			return err
		}
		return nil
	}}
}

// TestNoModSeqsWithoutLock: without a lock, no change gets a mod-sequence, and no client is
// told one, even if the folder had them when it was open before.
func TestNoModSeqsWithoutLock(t *testing.T) {
	for _, reason := range []error{fs.ErrPermission, syscall.ENOSPC} {
		t.Run(reason.Error(), func(t *testing.T) {
			b := newBox(t)
			name := b.drop("cur/")
			env := keeping(t, t.TempDir())
			b.settle()
			c := new(offline)
			c.t = t
			m := b.open(env)
			c.come(m)
			c.leave()
			m.Close()
			b.rename(name, name+"F") // a look finds out that there is no lock
			f := withoutLock(reason)
			f.on.Store(true)
			m = b.openWith(env, f.before)
			defer m.Close()
			if m.snap.state == nil {
				t.Error("the folder was not opened with its snapshot")
			}
			v := view(t, m)
			defer v.Close()
			if ok, err := v.EnableModSeq(ctx); ok || err != nil {
				t.Errorf("mod-sequences are offered: %v, %v", ok, err)
			}
			if n, err := v.TellModSeq(ctx); n != 0 || err != nil {
				t.Errorf("SELECT would say %d, %v", n, err)
			}
			if n, err := m.HighestModSeq(ctx); n != 0 || err != nil {
				t.Errorf("STATUS would say %d, %v", n, err)
			}
			f.on.Store(false)
			if heard := c.come(m); heard != 1 {
				t.Errorf("when there is a lock again, a client hears of %d messages", heard)
			}
			c.check(b)
			c.leave()
		})
	}
}

// TestUnwritableTellsAll: a client that is told mod-sequences learns what others do in a
// mailbox that became unwritable meanwhile, and again when it comes back.
func TestUnwritableTellsAll(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		name := b.drop("cur/")
		f := withoutLock(fs.ErrPermission)
		m := b.openWith(env, f.before)
		defer m.Close()
		c := connect(t, m, false)
		if ok, err := c.v.EnableModSeq(ctx); !ok || err != nil {
			t.Fatal(ok, err)
		}
		upTo := c.v.HighestModSeq()
		f.on.Store(true)
		b.drop("cur/")
		b.rename(name, name+"F")
		got := c.poll(true)
		if slices.Sort(got); !slices.Equal(got, []string{"exists 2", "flags 1 F", "recent 2"}) {
			t.Errorf("told %q", got)
		}
		if since, err := c.v.Since(ctx, upTo); since != 0 || err != nil {
			t.Errorf("claims to know what changed since %d: %d, %v", upTo, since, err)
		}
		if now := c.v.HighestModSeq(); now != upTo {
			t.Errorf("told up to %d, was %d", now, upTo)
		}
		b.rename(name+"F", name)
		c.poll(true)
		c.v.Close()
		f.on.Store(false)
		again := connect(t, m, false)
		defer again.v.Close()
		if ok, err := again.v.EnableModSeq(ctx); !ok || err != nil {
			t.Fatal(ok, err)
		}
		for _, msg := range again.all() {
			if msg.ModSeq <= upTo {
				t.Errorf("UID %d has mod-sequence %d, a client that knows %d was told other flags", msg.UID, msg.ModSeq, upTo)
			}
		}
	})
}

// TestHistoryTriedAgain: a history that cannot be written, nor marked as cut off, is tried again
// soon although nothing happens in the folder, or when a client asks for mod-sequences.
func TestHistoryTriedAgain(t *testing.T) {
	for _, asked := range []bool{false, true} {
		b := newBox(t)
		b.drop("cur/")
		env := newEnv(t)
		late := time.Duration(0)
		env.Now = func() time.Time { return time.Now().Add(late) }
		f := &hooked{wrong: func(op, path string) error {
			if strings.HasPrefix(filepath.Base(path), history.Name) && op != "stat" {
				return syscall.EMFILE
			}
			return nil
		}}
		m := b.openWith(env, f.before)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		written := func() string {
			text, err := os.ReadFile(b.file(history.Name))
			must(t, err)
			return string(text)
		}
		f.on.Store(true)
		before := written()
		_, err := c.v.Store(ctx, c.uids, Add, filename.Flagged, nil)
		must(t, err)
		if n, err := m.HighestModSeq(ctx); n != 0 || err != nil {
			t.Errorf("STATUS says %d, %v", n, err)
		}
		late += time.Minute
		c.poll(true)
		f.on.Store(false)
		if c.poll(true); written() != before {
			t.Fatal("the history was written at once")
		}
		late += time.Minute
		if !asked {
			if c.poll(true); written() == before {
				t.Error("the history was not written again")
			}
		}
		if ok, err := c.v.EnableModSeq(ctx); !ok || err != nil {
			t.Errorf("asked %v: mod-sequences are not offered: %v, %v", asked, ok, err)
		}
	}
}

// TestNoModSeqsWakeNobody: who asks for mod-sequences that there are not wakes no session each
// time. Those that NOTIFY tells of them ask again whenever they are woken.
func TestNoModSeqsWakeNobody(t *testing.T) {
	hooks := map[string]*hooked{
		"no room": withoutLock(syscall.ENOSPC),
		"no history": {wrong: func(op, path string) error {
			if strings.HasPrefix(filepath.Base(path), history.Name) && op != "stat" {
				return syscall.EMFILE
			}
			return nil
		}},
	}
	for name, f := range hooks {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			file := b.drop("cur/")
			env := newEnv(t)
			env.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
			m := b.openWith(env, f.before)
			defer m.Close()
			var woken atomic.Int32
			v, err := m.NewView(ctx, false, func() { woken.Add(1) })
			must(t, err)
			defer v.Close()
			f.on.Store(true)
			b.rename(file, file+"F")
			must(t, m.Poll(ctx))
			for i := range 3 {
				before := woken.Load()
				if n, err := m.settled(ctx); n != 0 || err != nil {
					t.Fatal(n, err)
				}
				if now := woken.Load(); i > 0 && now != before {
					t.Errorf("question %d woke sessions %d times", i+1, now-before)
				}
			}
		})
	}
}
