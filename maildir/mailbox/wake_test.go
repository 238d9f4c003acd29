package mailbox

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// hears waits until the idle client is told what it expects.
func (c *client) hears(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for late := time.After(2 * time.Minute); len(got) < len(want); {
		select {
		case <-c.woke:
		case <-late:
			t.Fatalf("the idle session was told %q, want %q", got, want)
		}
		got = append(got, c.poll(true)...)
	}
	wantUpdates(t, got, want...)
}

// rest is an idle session that looks whenever it is woken, until it is not woken any more;
// it returns how often it looked.
func (c *client) rest() (looks int) {
	for {
		select {
		case <-c.woke:
			looks++
			c.poll(true)
		case <-time.After(200 * time.Millisecond):
			return looks
		}
	}
}

// TestPushAfterFailedLook: a look that fails leaves its work to be done, and an idle
// session is told as soon as possible, even if nothing else happens.
func TestPushAfterFailedLook(t *testing.T) {
	for name, more := range map[string]bool{"other mail comes": true, "nothing else comes": false} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			c := b.session(newEnv(t))
			c.rest()
			b.rename(uidlistName, "away")
			must(t, os.Mkdir(b.file(uidlistName), 0o700))
			b.drop("new/")
			<-c.woke
			if err := c.v.Poll(ctx); err == nil {
				t.Fatal("the look did not fail")
			}
			select {
			case <-c.woke: // before the look that failed
			default:
			}
			must(t, os.Remove(b.file(uidlistName)))
			b.rename("away", uidlistName)
			if more {
				b.drop("new/")
				c.hears(t, "exists 2", "recent 2")
			} else {
				c.hears(t, "exists 1", "recent 1")
			}
		})
	}
}

// TestPushAfterLock: while another program holds the lock, an idle session does not keep
// looking, and is told when the lock is released.
func TestPushAfterLock(t *testing.T) {
	b := newBox(t)
	c := b.session(newEnv(t))
	c.rest()
	must(t, os.WriteFile(b.file(uidlistLock), []byte("1:elsewhere"), 0o600))
	b.drop("new/")
	<-c.woke
	began := time.Now()
	wantUpdates(t, c.poll(true))
	select {
	case <-c.woke:
		if time.Since(began) < pollInterval {
			t.Error("woken at once to wait for the lock again")
		}
		select {
		case c.woke <- struct{}{}: // hears waits for it
		default:
		}
	default:
	}
	b.remove(uidlistLock)
	c.hears(t, "exists 1", "recent 1")
}

// unknownType hides the type of a folder's file system, so that other hosts may have it mounted.
func unknownType(op, _ string) error {
	if op == "statfs" {
		return os.ErrPermission
	}
	return nil
}

// TestPushShared: where other hosts may have the folder mounted, an idle session is told what
// events report, and what only polling finds.
func TestPushShared(t *testing.T) {
	for _, without := range []string{"polling", "events"} {
		t.Run("without "+without, func(t *testing.T) {
			b := newBox(t)
			m := b.openWith(newEnv(t), unknownType)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			c.rest()
			m.sync <- struct{}{}
			if without == "polling" {
				m.watch.poller.stop()
				m.watch.poller = nil
			} else {
				m.watch.drop()
			}
			m.release()
			b.drop("new/")
			c.hears(t, "exists 1", "recent 1")
		})
	}
}

// TestIdleRests: an idle session looks a few times after a change, and does not keep
// looking while the folder's times are recent.
func TestIdleRests(t *testing.T) {
	b := newBox(t)
	c := b.session(newEnv(t))
	c.rest()
	b.drop("new/")
	looks := c.rest()
	if looks > 10 {
		t.Errorf("the session looked %d times after one new message", looks)
	}
}

// TestDirectoryMovedAndBack: new/ or cur/ that was elsewhere for a moment is still watched
// and examined.
func TestDirectoryMovedAndBack(t *testing.T) {
	for _, dir := range []string{"new", "cur"} {
		t.Run(dir, func(t *testing.T) {
			b := newBox(t)
			m := b.open(newEnv(t))
			defer m.Close()
			c := connect(t, m, true)
			defer c.v.Close()
			b.rename(dir, "away")
			b.rename("away", dir)
			<-c.woke
			wantUpdates(t, c.poll(true))
			c.rest()
			b.drop(dir + "/")
			c.hears(t, "exists 1", "recent 1")
		})
	}
}

// TestMuted: what others do while a command changes so many files that cur/ is not watched
// is reported after it, and so is what they do later. A folder that is polled too is no
// exception.
func TestMuted(t *testing.T) {
	t.Run("local", func(t *testing.T) { testMuted(t, nil) })
	t.Run("shared", func(t *testing.T) { testMuted(t, unknownType) })
}

func testMuted(t *testing.T, before func(op, path string) error) {
	b := newBox(t)
	for range 3 {
		b.drop("cur/")
	}
	m := b.openWith(newEnv(t), before)
	defer m.Close()
	m.watch.muteFrom = 1
	a, c := connect(t, m, false), connect(t, m, false)
	defer a.v.Close()
	defer c.v.Close()
	c.rest()

	must(t, m.acquire(ctx))
	unmute := m.mute(2*len(a.uids), 2*len(a.uids))
	b.drop("cur/")
	b.remove("cur/1700000001.M1P1.other:2,")
	m.watch.await(t)
	if !m.events.empty() {
		t.Error("events came of a directory that is muted")
	}
	unmute()
	m.release()
	c.hears(t, "expunge 1", "exists 3", "recent 1")

	a.poll(true)
	_, err := a.v.Store(ctx, a.uids, Add, filename.Flagged, nil)
	must(t, err)
	c.hears(t, "flags 1 F", "flags 2 F", "flags 3 F")
	c.rest()
	b.rename("cur/1700000002.M2P1.other:2,F", "cur/1700000002.M2P1.other:2,FS")
	c.hears(t, "flags 1 FS")
}

// TestMutedForGood: a folder that cannot be watched again after it was muted is polled, once.
func TestMutedForGood(t *testing.T) {
	for name, before := range map[string]func(op, path string) error{"local": nil, "shared": unknownType} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			m := b.openWith(newEnv(t), before)
			defer m.Close()
			m.watch.muteFrom = 1
			must(t, m.acquire(ctx))
			was := m.watch.poller
			unmute := m.mute(2, 2)
			m.watch.watches[table.InCur].Close()
			unmute()
			if is := m.watch.poller; is == nil || was != nil && is != was || m.watch.on {
				t.Errorf("the poller was %p and is %p, events are trusted: %v", was, is, m.watch.on)
			}
			m.release()
		})
	}
}

// TestRestsAtOccupiedName: something that is not a regular file has the name that new mail
// would get in cur/. The mail is served from new/, and an idle session does not keep trying.
func TestRestsAtOccupiedName(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":      func(path string) error { return os.Symlink("nowhere", path) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b, env := newBox(t), newEnv(t)
			var late atomic.Int64
			env.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
			m := b.open(env)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			must(t, put(b.file("cur/100.M1P1.h:2,")))
			b.drop("new/100.M1P1.h")
			c.hears(t, "exists 1", "recent 1")
			for range 2 {
				late.Add(int64(time.Hour))
				c.poll(true)
				for looks := 0; ; looks++ {
					if looks > 10 {
						t.Fatal("the session is woken again and again")
					}
					select {
					case <-c.woke:
						c.poll(true)
						continue
					case <-time.After(200 * time.Millisecond):
					}
					break
				}
			}
			if text := read(t, c, 1); text == "" || !b.files()["new/100.M1P1.h"] {
				t.Errorf("%q, files %v", text, b.files())
			}
			b.remove("cur/100.M1P1.h:2,")
			late.Add(int64(time.Hour))
			c.poll(true)
			if !b.files()["cur/100.M1P1.h:2,"] {
				t.Errorf("the name is free: files %v", b.files())
			}
		})
	}
}
