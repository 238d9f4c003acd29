package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// TestPanicGivesLocksBack: a bug in one session's change leaves the mailbox usable for the
// others.
func TestPanicGivesLocksBack(t *testing.T) {
	b := newBox(t)
	b.drop("new/")
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = m.change(ctx, func(*dotlock.Lock) error { panic("a fault") })
	}()
	if _, err := os.Lstat(b.file(uidlistLock)); err == nil {
		t.Error("the lock is still there")
	}
	if done, err := c.v.Store(ctx, c.uids, Add, 0, []string{"after"}); err != nil || len(done) != 1 {
		t.Error(done, err)
	}
}

// TestPanicOfUIDValidity: a bug that strikes while the UIDVALIDITY of a new list is taken, which
// another goroutine does, reaches the session that opens the folder.
func TestPanicOfUIDValidity(t *testing.T) {
	for name, next := range map[string]nextValidity{
		"take":   func() (uint32, func() error, error) { panic("a fault") },
		"settle": func() (uint32, func() error, error) { return 7, func() error { panic("a fault") }, nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.drop("cur/")
			dir, err := dirfd.Open(b.path)
			must(t, err)
			func() {
				defer func() {
					if p := fmt.Sprint(recover()); !strings.Contains(p, "a fault") {
						t.Errorf("panic %s", p)
					}
				}()
				_, err := New(ctx, newEnv(t), dir, next, nil)
				t.Errorf("opened with %v", err)
			}()
			for _, left := range []string{uidlistLock, uidlistName} {
				if _, err := os.Lstat(b.file(left)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is there (%v)", left, err)
				}
			}
			m := b.open(newEnv(t)) // the next session can
			m.Close()
		})
	}
}

// TestFirstLookIsDurable: a UIDVALIDITY is durably allocated before a list contains it, and
// the list is on disk when the folder is open.
func TestFirstLookIsDurable(t *testing.T) {
	for _, fails := range []error{nil, errors.New("the counter cannot be synced")} {
		b := newBox(t)
		b.drop("cur/")
		env := newEnv(t)
		env.Fsync = true
		dir, err := dirfd.Open(b.path)
		must(t, err)
		asked := 0
		m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
			return 7, func() error {
				asked++
				if _, err := os.Lstat(b.file(uidlistName)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the list is there before its UIDVALIDITY is taken for good (%v)", err)
				}
				return fails
			}, nil
		}, nil)
		if asked != 1 || !errors.Is(err, fails) {
			t.Errorf("asked %d times to sync the counter, opened with %v, want %v", asked, err, fails)
		}
		if err != nil {
			names, err := filepath.Glob(b.file("dovecot-uidlist*"))
			if must(t, err); len(names) > 0 {
				t.Errorf("left behind: %q", names)
			}
			continue
		}
		if !settled(m) || m.UIDValidity() != 7 {
			t.Errorf("list settled %v, UIDVALIDITY %d", settled(m), m.UIDValidity())
		}
		m.Close()
	}
}

// settled reports whether the list is durable: then there is nothing to sync.
func settled(m *Mailbox) bool {
	m.dir.Before(func(op, _ string) error {
		if op == "sync" {
			return errors.New("the folder is synced")
		}
		return nil
	})
	defer m.dir.Before(nil)
	return m.list.Settle() == nil
}

// TestChangesAreDurable: when a command has returned, the names that it added and removed are on
// disk.
func TestChangesAreDurable(t *testing.T) {
	for name, do := range map[string]func(c *client, dst *Mailbox) error{
		"store": func(c *client, _ *Mailbox) error {
			_, err := c.v.Store(ctx, c.uids[:1], Add, filename.Seen, nil)
			return err
		},
		"expunge": func(c *client, _ *Mailbox) error { _, err := c.v.Remove(ctx, c.uids[0]); return err },
		"copy":    func(c *client, dst *Mailbox) error { _, err := c.v.Copy(ctx, c.uids[:1], dst); return err },
		"move":    func(c *client, dst *Mailbox) error { _, err := c.v.Move(ctx, c.uids[:1], dst); return err },
	} {
		t.Run(name, func(t *testing.T) {
			b, to, env := newBox(t), newBox(t), newEnv(t)
			env.Fsync = true
			b.drop("cur/")
			b.drop("cur/")
			c, dst := b.beside(to, env, &hooked{})
			must(t, do(c, dst))
			for where, m := range map[string]*Mailbox{"": c.v.m, " of the other mailbox": dst} {
				if m.dirs.unsynced != [2]bool{} {
					t.Errorf("new/ and cur/%s are not on disk: %v", where, m.dirs.unsynced)
				}
			}
		})
	}
}

// TestListWaitsForRemovals: a list without the messages that were removed gets its name
// only once their files are durably gone.
func TestListWaitsForRemovals(t *testing.T) {
	for _, trouble := range []string{"", "with the directory", "with the list"} {
		fails := trouble == "with the directory"
		b := newBox(t)
		for range 4 {
			b.drop("cur/")
		}
		env := newEnv(t)
		env.Fsync = true
		m := b.open(env)
		m.shortList = 0
		c := connect(t, m, false)
		before, err := os.ReadFile(b.file(uidlistName))
		must(t, err)
		err = m.change(ctx, func(lock *dotlock.Lock) error {
			for _, n := range []uint32{0, 1, 3} {
				must(t, m.unlink(n, 0))
			}
			if fails {
				must(t, m.dirs.Cur.Close())
			}
			if trouble == "with the list" { // which is not written then, as it was changed meanwhile
				must(t, os.WriteFile(b.file(uidlistName), append(before, "9 :x\n"...), 0o600))
			}
			return m.syncRemoved(lock, []uint32{c.uids[0], c.uids[1], c.uids[3]})
		})
		after, readErr := os.ReadFile(b.file(uidlistName))
		must(t, readErr)
		if fails {
			if !errors.Is(err, fs.ErrClosed) || string(after) != string(before) {
				t.Errorf("the removals could not be synced: %v, list %q, before %q", err, after, before)
			}
		} else if must(t, err); trouble != "" {
			if m.dirs.unsynced[table.InCur] {
				t.Error("the removals are not on disk, because the list was not written")
			}
		} else {
			if lines := strings.Split(strings.TrimSpace(string(after)), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], fmt.Sprint(c.uids[2], " ")) {
				t.Errorf("list %q, want the record of UID %d alone", after, c.uids[2])
			}
			if !settled(m) || m.dirs.unsynced[table.InCur] {
				t.Error("list or removals are not on disk")
			}
		}
		names, globErr := filepath.Glob(b.file("dovecot-uidlist*"))
		if must(t, globErr); len(names) != 1 {
			t.Errorf("left behind: %q", names)
		}
		c.v.Close()
		m.Close()
	}
}

// TestRecordsOfRemoved: whoever removes messages does not wait for a list without their
// records, unless it has become long.
func TestRecordsOfRemoved(t *testing.T) {
	b := newBox(t)
	for i := range 400 {
		b.drop(fmt.Sprintf("cur/1700000000.M%dP1.other:2,S", i))
	}
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	kept := c.uids
	for _, want := range []int{800, 400, 800} { // 1200 are more than 1000
		copied, err := c.v.Copy(ctx, kept, m)
		must(t, err)
		c.poll(true)
		removed, err := c.v.Remove(ctx, copied.Dest...)
		must(t, err)
		c.poll(true)
		if got := strings.Count(b.read(uidlistName), "\n") - 1; len(removed) != 400 || got != want {
			t.Errorf("%d messages were removed: the list has %d records, want %d", len(removed), got, want)
		}
	}
}

// TestOldTempFilesGo: what is left in tmp/ is removed after 36 hours, when the mailbox is
// opened to read mail, and not before.
func TestOldTempFilesGo(t *testing.T) {
	b := newBox(t)
	left := b.file("tmp/left")
	must(t, os.WriteFile(left, []byte("half a mess"), 0o600))
	// The age is that of the last status change, whatever times the file has.
	must(t, os.Chtimes(left, time.Unix(1, 0), time.Unix(1, 0)))
	env := newEnv(t)
	late := time.Duration(0)
	env.Now = func() time.Time { return time.Now().Add(late) }
	m := b.open(env)
	defer m.Close()
	there := func() bool {
		names, err := filepath.Glob(left)
		must(t, err)
		return len(names) == 1
	}
	for _, step := range []struct {
		late     time.Duration
		readOnly bool
		left     bool
	}{
		{0, false, true}, {35 * time.Hour, false, true}, {37 * time.Hour, true, true}, {37 * time.Hour, false, false},
	} {
		late = step.late
		connect(t, m, step.readOnly).v.Close()
		if there() != step.left {
			t.Errorf("%s later, read-only %v: there %v", step.late, step.readOnly, !step.left)
		}
	}
}

// TestBothNames: a crash during a move may leave a message under both names. It is one
// message, and loses the old name.
func TestBothNames(t *testing.T) {
	b := newBox(t)
	name := b.drop("new/")
	must(t, os.Link(b.file(name), b.file("cur/"+filepath.Base(name)+":2,")))
	env := newEnv(t)
	env.Now = func() time.Time { return time.Now().Add(secondNameGrace) }
	m := b.open(env)
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	c.poll(true)
	if files := b.files(); len(c.uids) != 1 || len(files) != 1 || !files["cur/"+filepath.Base(name)+":2,"] {
		t.Errorf("UIDs %d, files %v", c.uids, files)
	}
	if file, err := openText(c.v, c.all()[0]); err != nil {
		t.Error(err)
	} else {
		_ = file.Close()
	}
}
