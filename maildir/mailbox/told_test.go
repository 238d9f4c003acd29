package mailbox

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// TestToldWhenDurable: no session can read a mod-sequence before its frame is on
// disk, whether this process wrote it or another one.
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

// TestToldBeforeSync: a client that wants no mod-sequences is told one from before a
// change without waiting for the disk, and waits before it can see the change.
func TestToldBeforeSync(t *testing.T) {
	b := newBox(t)
	name := b.drop("cur/")
	m := b.open(newEnv(t))
	defer m.Close()
	dir, err := dirfd.Open(b.path)
	must(t, err)
	defer dir.Close()
	syncing, goOn := make(chan struct{}, 9), make(chan struct{})
	m.hist = history.New(dir, history.Options{Fsync: true, Log: m.env.Log, Now: time.Now, DataSync: func(*os.File) error {
		syncing <- struct{}{}
		<-goOn
		return nil
	}})
	go func() { goOn <- struct{}{} }()
	first := connect(t, m, false)
	since, err := first.v.TellModSeq(ctx)
	if must(t, err); since == 0 {
		t.Fatal("there is no mod-sequence")
	}
	must(t, first.v.AwaitChanges(ctx))
	first.v.Close()
	<-syncing

	b.rename(name, name+"F")
	second := connect(t, m, false)
	defer second.v.Close()
	now := second.all()[0].ModSeq
	told, err := second.v.TellModSeq(ctx)
	if must(t, err); now <= since || told != since {
		t.Errorf("told %d after a change with %d, it was %d before", told, now, since)
	}
	<-syncing
	ended, end := context.WithCancel(ctx)
	end()
	if err := second.v.AwaitChanges(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for the disk: %v", err)
	}
	goOn <- struct{}{}
	must(t, second.v.AwaitChanges(ctx))
	if told, err := second.v.TellModSeq(ctx); told != now || err != nil {
		t.Errorf("told %d when all is on disk, want %d: %v", told, now, err)
	}
}
