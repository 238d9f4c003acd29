package mailbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
)

// TestRemovedDirectories: somebody removes a directory of an open folder. Adding something
// to it fails, without waiting for the directory or trying forever; the mailbox ends, and
// the folder can be opened again.
func TestRemovedDirectories(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		for _, gone := range []string{"new", "cur", "tmp"} {
			from, to := newBox(t), newBox(t)
			from.drop("new/")
			src, dst := from.open(env), to.open(env)
			defer src.Close()
			defer dst.Close()
			c, d := connect(t, src, false), connect(t, dst, false)
			defer c.v.Close()
			defer d.v.Close()
			must(t, os.RemoveAll(to.file(gone)))
			if gone == "tmp" {
				in, err := dst.NewIncoming(AppendOptions{})
				if err == nil {
					in.Abort()
				}
				if !errors.Is(err, ErrReplaced) {
					t.Errorf("a message was begun without tmp/: %v", err)
				}
			} else {
				ended, cancel := context.WithTimeout(ctx, time.Minute)
				_, err := c.v.Copy(ended, c.uids, dst)
				cancel()
				if !errors.Is(err, ErrReplaced) {
					t.Errorf("COPY without %s/: %v", gone, err)
				}
			}
			if err := d.v.Poll(ctx); !errors.Is(err, ErrReplaced) || !dst.Replaced() {
				t.Errorf("without %s/ the mailbox goes on: %v", gone, err)
			}
			again := to.open(env)
			defer again.Close()
			if _, err := c.v.Copy(ctx, c.uids, again); err != nil {
				t.Errorf("with a new %s/: %v", gone, err)
			}
		}
	})
}

// TestReplacedDirectories: somebody moves a directory of an open folder away and creates a
// new one. Whoever has the mailbox open is woken, the mailbox ends, and opening it again
// uses the new directory.
func TestReplacedDirectories(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		for _, name := range []string{"new", "cur"} {
			b := newBox(t)
			b.drop("cur/")
			m := b.open(env)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			must(t, c.v.Poll(ctx)) // looked at the name just now
			must(t, os.Rename(b.file(name), b.file(name+".old")))
			must(t, os.Mkdir(b.file(name), 0o700))
			deadline := time.After(time.Minute)
			for {
				select {
				case <-c.woke:
				case <-deadline:
					t.Fatalf("nobody noticed that %s/ is another one", name)
				}
				if err := c.v.Poll(ctx); errors.Is(err, ErrReplaced) {
					break
				}
			}
			if !m.Replaced() {
				t.Error("the mailbox is not replaced")
			}
			again := b.open(env)
			defer again.Close()
			b.drop(name + "/")
			d := connect(t, again, false)
			defer d.v.Close()
			d.poll(true)
			if want := map[string]int{"new": 2, "cur": 1}[name]; len(d.uids) != want {
				t.Errorf("with another %s/ there are %v", name, d.uids)
			}
		}
	})
}

// TestRemovedFolder: somebody removes an open folder as a whole.
func TestRemovedFolder(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/")
		c := b.session(env)
		must(t, os.RemoveAll(b.path))
		if _, err := c.v.Store(ctx, c.uids, Add, filename.Seen, nil); !errors.Is(err, ErrReplaced) {
			t.Errorf("STORE: %v", err)
		}
		if err := c.v.Poll(ctx); !errors.Is(err, ErrReplaced) {
			t.Errorf("and then: %v", err)
		}
	})
}

// TestMoveInterrupted: if a MOVE is interrupted, the message stays where it was, and is not
// in both mailboxes.
func TestMoveInterrupted(t *testing.T) {
	env := newEnv(t)
	from, to := newBox(t), newBox(t)
	from.drop("new/")
	src, dst := from.open(env), to.open(env)
	defer src.Close()
	defer dst.Close()
	c, d := connect(t, src, false), connect(t, dst, true)
	defer c.v.Close()
	defer d.v.Close()
	must(t, src.acquire(ctx)) // the removal waits for this
	interrupted, interrupt := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := c.v.Move(interrupted, c.uids, dst)
		ended <- err
	}()
	for dst.UIDNext() == 1 { // the copy is made
		<-d.woke
	}
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	src.release()
	if in, out := len(to.files()), len(from.files()); in != 0 || out != 1 {
		t.Errorf("%d files are where it was to go, %d where it was", in, out)
	}
}

// TestRemovedUnderLock: a folder is removed, including the lock, while something is done
// under the lock. That is a user's DELETE: the mailbox ends, and nothing is logged as an
// error. If only the lock is removed, something is wrong, but what is done is not refused.
func TestRemovedUnderLock(t *testing.T) {
	failed := errors.New("a file is not there any more")
	for name, c := range map[string]struct {
		removed bool
		later   bool // as rm -r does it: the lock goes before the directories
		err     error
		want    error
		logged  string
	}{
		"the folder, unnoticed":           {removed: true, want: ErrReplaced},
		"the folder, and something fails": {removed: true, err: failed, want: ErrReplaced},
		"the lock, then the folder":       {removed: true, later: true, want: ErrReplaced},
		"the lock, unnoticed":             {logged: "WARN"},
		"the lock, and something fails":   {err: failed, want: failed, logged: "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			env := newEnv(t)
			env.Log = slog.New(slog.NewTextHandler(&log, nil))
			b := newBox(t)
			dir, err := dirfd.Open(b.path)
			must(t, err)
			looks := -1 // at the folder without its lock
			here := func() bool {
				if looks >= 0 && c.later {
					if looks++; looks == 2 {
						must(t, os.RemoveAll(b.path))
					}
				}
				now, err := os.Lstat(b.path)
				return err == nil && now.IsDir()
			}
			m, err := New(ctx, env, dir, func() (uint32, func() error, error) { return 1, nil, nil }, here)
			must(t, err)
			defer m.Close()
			err = m.change(ctx, func(*dotlock.Lock) error {
				looks = 0
				if c.removed && !c.later { // as Dovecot does it: there may be more to be removed
					must(t, os.Rename(b.path, b.path+".trash"))
					must(t, os.Remove(b.file("../box.trash/"+uidlistLock)))
				} else {
					b.remove(uidlistLock)
				}
				return c.err
			})
			if !errors.Is(err, c.want) || m.Replaced() != c.removed {
				t.Errorf("%v, want %v; replaced: %v", err, c.want, m.Replaced())
			}
			for _, level := range []string{"WARN", "ERROR"} {
				if logged := strings.Contains(log.String(), "level="+level); logged != (level == c.logged) {
					t.Errorf("logged:\n%s", log.String())
				}
			}
		})
	}
}

// TestRemovedBeforeOpened: a folder is removed after it was looked up by its name.
func TestRemovedBeforeOpened(t *testing.T) {
	b := newBox(t)
	dir, err := dirfd.Open(b.path)
	must(t, err)
	defer dir.Close()
	must(t, os.RemoveAll(b.path))
	if _, err := New(ctx, newEnv(t), dir, func() (uint32, func() error, error) { return 1, nil, nil }, nil); !errors.Is(err, ErrReplaced) {
		t.Errorf("opened with %v", err)
	}
}
