package mailbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
)

// TestMovedBetweenFolders: mutt and mv move a file from one folder to another; it is gone
// from the one and new in the other, whatever UIDs its name had.
func TestMovedBetweenFolders(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		a, b := newBox(t), newBox(t)
		for _, n := range []string{"cur/100.M1P1.h:2,S", "cur/200.M1P1.h:2,"} {
			a.drop(n)
			b.drop("cur/9" + n[4:])
		}
		from, to := a.open(env), b.open(env)
		defer from.Close()
		defer to.Close()
		c, d := connect(t, from, false), connect(t, to, false)
		defer c.v.Close()
		defer d.v.Close()
		text := read(t, c, 1)
		must(t, os.Rename(a.file("cur/100.M1P1.h:2,S"), b.file("cur/100.M1P1.h:2,S")))
		wantUpdates(t, c.poll(true), "expunge 1", "recent 1")
		wantUpdates(t, d.poll(true), "exists 3", "recent 3")
		if got := read(t, d, 3); got != text || d.all()[2].Flags != filename.Seen {
			t.Errorf("moved as %q with flags %b", got, d.all()[2].Flags)
		}
		// And back: a client saw it vanish, so its old UID does not return.
		must(t, os.Rename(b.file("cur/100.M1P1.h:2,S"), a.file("cur/100.M1P1.h:2,S")))
		wantUpdates(t, d.poll(true), "expunge 3", "recent 2")
		c.poll(true)
		if want := []uint32{2, 3}; !slices.Equal(c.uids, want) {
			t.Errorf("UIDs %v, want %v", c.uids, want)
		}
	})
}

// TestRestored: rsync restores an older list and older names while the mailbox is open.
// UIDs that clients have seen stay with their files or are never used again.
func TestRestored(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		for range 3 {
			b.drop("cur/")
		}
		m := b.open(env)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		old := b.read(uidlistName)
		for range 3 {
			b.drop("new/")
		}
		c.poll(true)
		_, err := c.v.Store(ctx, []uint32{6}, Add, filename.Deleted, nil)
		must(t, err)
		_, err = c.v.Expunge(ctx, nil)
		must(t, err)
		c.poll(true)
		validity := m.UIDValidity()
		b.write(uidlistName, old)
		b.drop("cur/")
		wantUpdates(t, c.poll(true), "exists 6", "recent 6")
		if want := []uint32{1, 2, 3, 4, 5, 7}; !slices.Equal(c.uids, want) || m.UIDValidity() != validity {
			t.Errorf("UIDs %v, want %v", c.uids, want)
		}
		other := b.open(newEnv(t))
		defer other.Close()
		d := connect(t, other, true)
		defer d.v.Close()
		if !slices.Equal(c.uids, d.uids) || other.UIDNext() != 8 {
			t.Errorf("another process has %v, next %d", d.uids, other.UIDNext())
		}
	})
}

// TestNewUIDValidity: a list with a different UIDVALIDITY ends the sessions, and the
// mailbox opens again with the new one.
func TestNewUIDValidity(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		m := b.open(env)
		c := connect(t, m, false)
		b.write(uidlistName, "3 V4000000000 N10 G"+someGUID+"\n7 :100.M1P1.h\n")
		b.drop("new/")
		if err := c.v.Poll(ctx); !errors.Is(err, ErrReplaced) {
			t.Errorf("Poll: %v", err)
		}
		if _, err := c.v.Store(ctx, []uint32{1}, Add, filename.Seen, nil); !errors.Is(err, ErrReplaced) {
			t.Errorf("Store: %v", err)
		}
		c.v.Close()
		m.Close()
		m = b.open(env)
		defer m.Close()
		c = connect(t, m, true)
		defer c.v.Close()
		if want := []uint32{7, 10}; !slices.Equal(c.uids, want) || m.UIDValidity() != 4000000000 {
			t.Errorf("UIDs %v, UIDVALIDITY %d", c.uids, m.UIDValidity())
		}
	})
}

// TestReplacedFolder: the mailbox's name now leads to another directory, as after a restore
// under a selected session.
func TestReplacedFolder(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/")
		dir, err := dirfd.Open(b.path)
		must(t, err)
		var here atomic.Bool // asked by who polls, too
		here.Store(true)
		m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
			v, err := uidlist.NextValidity(dir, time.Now(), false)
			return v, nil, err
		},
			here.Load)
		must(t, err)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		must(t, os.Rename(b.path, b.path+".old"))
		here.Store(false)
		m.NameChanged()
		select {
		case <-c.woke:
		case <-time.After(time.Minute):
			t.Fatal("nobody woke the session")
		}
		if err := c.v.Poll(ctx); !errors.Is(err, ErrReplaced) {
			t.Errorf("Poll: %v", err)
		}
	})
}

// TestTimesOfDirectories: changes are found whatever the directories' times and the clock
// are: in the same tick as the last look, in the past, in the future.
func TestTimesOfDirectories(t *testing.T) {
	for name, at := range map[string]func(i int) time.Time{
		"the same tick":   func(int) time.Time { return time.Now() },
		"clock goes back": func(i int) time.Time { return time.Now().Add(-time.Duration(i) * time.Hour) },
		"in the future":   func(i int) time.Time { return time.Now().Add(time.Duration(i) * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				var hours atomic.Int64 // read by who polls, too
				env.Now = func() time.Time { return at(int(hours.Load())) }
				b := newBox(t)
				m := b.open(env)
				defer m.Close()
				c := connect(t, m, true)
				defer c.v.Close()
				var last time.Time
				for i := range 12 {
					hours.Store(int64(i))
					b.drop([]string{"new/", "cur/"}[i%2])
					if name != "the same tick" || last.IsZero() {
						last = at(i)
					} else if time.Since(last) > dirfd.FineGrain/2 {
						last = time.Now() // the tick is over
					}
					for _, d := range []string{"new", "cur"} {
						must(t, os.Chtimes(filepath.Join(b.path, d), last, last))
					}
					c.poll(true)
					if len(c.uids) != i+1 {
						t.Fatalf("after %d changes: %d messages", i+1, len(c.uids))
					}
				}
			})
		})
	}
}

// TestReadOnlyFolder: if nothing can be written, the mailbox is served as it is, including
// new mail, and normally again once it can be written.
func TestReadOnlyFolder(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/")
		b.open(env).Close() // which makes the list
		writable := readOnlyBox(b)
		writable(false)
		m := b.open(env)
		defer m.Close()
		c := connect(t, m, false)
		if !c.v.ReadOnly() || len(c.uids) != 1 {
			t.Errorf("read-only %v, UIDs %v", c.v.ReadOnly(), c.uids)
		}
		list := b.read(uidlistName)
		writable(true)
		b.drop("new/")
		writable(false)
		wantUpdates(t, c.poll(true), "exists 2", "recent 1")
		if _, err := c.v.Store(ctx, c.uids, Add, filename.Seen, nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Store: %v", err)
		}
		if _, err := m.NewIncoming(AppendOptions{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("NewIncoming: %v", err)
		}
		c.v.Close()
		if now := b.read(uidlistName); now != list {
			t.Errorf("the list became\n%s", now)
		}
		writable(true)
		in, err := m.NewIncoming(AppendOptions{})
		must(t, err)
		_, uids, err := m.Append(ctx, Taken{}, in)
		must(t, err)
		if want := []uint32{3}; !slices.Equal(uids, want) {
			t.Errorf("appended as %v", uids)
		}
		c = connect(t, m, false)
		defer c.v.Close()
		_, err = c.v.Store(ctx, c.uids, Add, filename.Seen, nil)
		must(t, err)
		if want := []uint32{1, 2, 3}; !slices.Equal(c.uids, want) || len(records(b)) != 3 {
			t.Errorf("UIDs %v in\n%s", c.uids, b.read(uidlistName))
		}
	})
}

// TestBecomesReadOnly: a client that selects an open mailbox learns that it can no longer
// be written, and that it can again.
func TestBecomesReadOnly(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/")
		writable := readOnlyBox(b)
		m := b.open(env)
		defer m.Close()
		for _, can := range []bool{true, false, true} {
			writable(can)
			c := connect(t, m, false)
			if c.v.ReadOnly() == can || len(c.uids) != 1 {
				t.Errorf("read-only %v where the folder can be written is %v; UIDs %v", c.v.ReadOnly(), can, c.uids)
			}
			c.v.Close()
		}
	})
}

// readOnlyBox returns a function that makes a folder unwritable and writable: by its rights
// or, for root, who is not restricted by them, by mounting it again.
func readOnlyBox(b *box) func(writable bool) {
	if os.Geteuid() != 0 {
		return func(writable bool) {
			mode := os.FileMode(0o500)
			if writable {
				mode = 0o700
			}
			for _, d := range []string{"", "new", "cur", "tmp"} {
				must(b.t, os.Chmod(b.file(d), mode))
			}
		}
	}
	must(b.t, unix.Mount(b.path, b.path, "", unix.MS_BIND, ""))
	b.t.Cleanup(func() { must(b.t, unix.Unmount(b.path, unix.MNT_DETACH)) })
	return func(writable bool) {
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
		if !writable {
			flags |= unix.MS_RDONLY
		}
		must(b.t, unix.Mount(b.path, b.path, "", flags, ""))
	}
}

// TestStoreAfterOthers: others flagged all messages, and removed one, since the last look.
// None of that is lost.
func TestStoreAfterOthers(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		var paths []string
		for range 3 * storeBatch {
			paths = append(paths, b.drop("cur/"))
		}
		c := b.session(env)
		for _, path := range paths[1:] {
			b.rename(path, path+"S")
		}
		b.remove(paths[0])
		done, err := c.v.Store(ctx, c.uids, Add, filename.Flagged, nil)
		must(t, err)
		if len(done) != len(paths)-1 {
			t.Errorf("%d of %d messages are flagged", len(done), len(paths)-1)
		}
		for path := range b.files() {
			if !strings.HasSuffix(path, ":2,FS") {
				t.Errorf("%s", path)
			}
		}
	})
}
