package mailbox

import (
	"os"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// TestToldWhenDurable: no session can read a mod-sequence before its frame is on disk,
// whether this process wrote it or another one.
func TestToldWhenDurable(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	m, other := b.open(newEnv(t)), b.open(newEnv(t))
	defer m.Close()
	defer other.Close()
	c, o := connect(t, m, false), connect(t, other, false)
	defer c.v.Close()
	defer o.v.Close()
	dir, err := dirfd.Open(b.path)
	must(t, err)
	defer dir.Close()
	told, syncs := uint64(0), 0
	m.hist = history.New(dir, history.Options{Fsync: true, Log: m.env.Log, Now: time.Now, DataSync: func(*os.File) error {
		syncs++
		if now := c.all()[0].ModSeq; told > 0 && now != told {
			t.Errorf("mod-sequence %d can be read before it is synced", now)
		}
		return nil
	}})
	if ok, err := c.v.EnableModSeq(ctx); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for name, change := range map[string]func() error{
		"own": func() error {
			_, err := c.v.Store(ctx, []uint32{1}, Add, filename.Flagged, nil)
			return err
		},
		"of another process": func() error {
			_, err := o.v.Store(ctx, []uint32{1}, Add, filename.Answered, nil)
			if err == nil {
				_, err = m.settled(ctx, true)
			}
			return err
		},
	} {
		told, syncs = c.all()[0].ModSeq, 0
		must(t, change())
		if now := c.all()[0].ModSeq; now <= told || syncs == 0 {
			t.Errorf("%s: mod-sequence %d after %d, %d syncs", name, now, told, syncs)
		}
	}
}

// TestToldAfterChange: a client that asks for no mod-sequences is told a different one
// after each change, even if it was away: only then does Thunderbird fetch flags. It is on
// disk.
func TestToldAfterChange(t *testing.T) {
	b := newBox(t)
	name := b.drop("cur/")
	m := b.open(newEnv(t))
	defer m.Close()
	dir, err := dirfd.Open(b.path)
	must(t, err)
	defer dir.Close()
	syncs := 0
	m.hist = history.New(dir, history.Options{Fsync: true, Log: m.env.Log, Now: time.Now, DataSync: func(*os.File) error {
		syncs++
		return nil
	}})
	last := uint64(0)
	for i, flags := range []string{"", "F", "FS", "S", ""} {
		if i > 0 {
			b.rename(name, strings.TrimRight(name, "FS")+flags)
			name = strings.TrimRight(name, "FS") + flags
		}
		syncs = 0
		v := connect(t, m, false).v
		told, err := v.TellModSeq(ctx)
		must(t, err)
		v.Close()
		if told <= last {
			t.Errorf("with flags %q told %d, and %d before", flags, told, last)
		}
		if syncs == 0 {
			t.Errorf("with flags %q told %d, which was not synced", flags, told)
		}
		last = told
	}
}
