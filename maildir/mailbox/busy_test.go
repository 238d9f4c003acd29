package mailbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/filename"
)

// flip gives the file at path another name, as a program does that keeps changing flags.
func flip(t *testing.T, path string) {
	t.Helper()
	flags := filename.FlagsOf(filepath.Base(path)) ^ filename.Answered
	must(t, os.Rename(path, filename.WithFlags(path, flags)))
}

// TestBusy: another program renames a message right before each attempt to use its file.
// That ends with an error which does not say that the message is gone, nothing is done, and
// afterwards the message is there under its UID.
func TestBusy(t *testing.T) {
	for name, c := range map[string]struct {
		call string // before which the message is renamed
		do   func(ctx context.Context, c *client, dst *Mailbox) error
	}{
		"read": {"open", func(_ context.Context, c *client, _ *Mailbox) error {
			f, err := openText(c.v, c.all()[0])
			if err == nil {
				_ = f.Close()
			}
			return err
		}},
		"store": {"rename", func(ctx context.Context, c *client, _ *Mailbox) error {
			done, err := c.v.Store(ctx, c.uids, Add, filename.Flagged, nil)
			if len(done) > 0 {
				t.Errorf("stored %v", done)
			}
			return err
		}},
		"remove": {"remove", func(ctx context.Context, c *client, _ *Mailbox) error {
			removed, err := c.v.Remove(ctx, c.uids...)
			if len(removed) > 0 {
				t.Errorf("removed %v", removed)
			}
			return err
		}},
		"copy": {"link", func(ctx context.Context, c *client, dst *Mailbox) error {
			_, err := c.v.Copy(ctx, c.uids, dst)
			return err
		}},
		"move": {"link", func(ctx context.Context, c *client, dst *Mailbox) error {
			_, err := c.v.Move(ctx, c.uids, dst)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				var late atomic.Int64
				env.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
				b, to := newBox(t), newBox(t)
				b.drop("cur/")
				f := &hooked{wrong: func(op, path string) error {
					if op == c.call && strings.Contains(path, "/cur/") {
						late.Add(int64(10 * time.Second))
						flip(t, path)
					}
					return nil
				}}
				client, dst := b.beside(to, env, f)
				f.on.Store(true)
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				if err := c.do(ctx, client, dst); !errors.Is(err, ErrBusy) {
					t.Errorf("%v, want %v", err, ErrBusy)
				}
				f.on.Store(false)
				client.poll(true)
				if all := client.all(); len(all) != 1 || all[0].UID != 1 || textOf(t, client.v, all[0]) == "" {
					t.Errorf("afterwards there are %v", all)
				}
				if files := to.files(); len(files) > 0 {
					t.Errorf("copied: %v", files)
				}
			})
		})
	}
}

// TestCopyTakenName: a message is copied to another file system although a file there that
// has not been noticed yet has the name of the copy.
func TestCopyTakenName(t *testing.T) {
	b, to, env := newBox(t), newBox(t), newEnv(t)
	b.drop("cur/")
	errs := []error{syscall.EEXIST, syscall.EXDEV} // as the kernel checks them
	f := &hooked{wrong: func(op, _ string) (err error) {
		if op == "link" && len(errs) > 0 {
			err, errs = errs[0], errs[1:]
		}
		return err
	}}
	c, dst := b.beside(to, env, f)
	f.on.Store(true)
	_, err := c.v.Copy(ctx, c.uids, dst)
	if files := to.files(); err != nil || len(files) != 1 {
		t.Errorf("%v, files %v", err, files)
	}
}

// TestCopyFromLocked: a COPY that is done is answered although another program holds the lock
// of the mailbox with the originals.
func TestCopyFromLocked(t *testing.T) {
	b, to, env := newBox(t), newBox(t), newEnv(t)
	b.drop("cur/")
	c, dst := b.beside(to, env, &hooked{})
	must(t, os.WriteFile(b.file(uidlistLock), []byte("77:elsewhere"), 0o600))
	defer b.remove(uidlistLock)
	began := time.Now()
	copied, err := c.v.Copy(ctx, c.uids, dst)
	if took := time.Since(began); err != nil || len(copied.Dest) != 1 || took > changePatience/2 {
		t.Errorf("copied %v, %v, after %s", copied, err, took)
	}
}

// TestCopyNotUndone: if a COPY that is to begin again, because another program renamed an
// original, cannot remove a copy that it has made, it is refused: otherwise the message would
// be there twice, and nobody would be told.
func TestCopyNotUndone(t *testing.T) {
	b, to, env := newBox(t), newBox(t), newEnv(t)
	b.drop("cur/")
	b.drop("cur/")
	links := 0
	from := &hooked{wrong: func(op, path string) error {
		if op == "link" {
			if links++; links == 2 {
				flip(t, path)
			}
		}
		return nil
	}}
	into := &hooked{wrong: func(op, path string) error {
		if op == "remove" && strings.Contains(path, "/new/") {
			return syscall.EIO
		}
		return nil
	}}
	m, dst := b.openWith(env, from.before), to.openWith(env, into.before)
	defer m.Close()
	defer dst.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	from.on.Store(true)
	into.on.Store(true)
	_, err := c.v.Copy(ctx, c.uids, dst)
	if files := to.files(); !errors.Is(err, syscall.EIO) || len(files) != 1 {
		t.Errorf("%v, files %v", err, files)
	}
}

// TestCopyInterrupted: a long COPY ends soon after the client has gone, and leaves nothing.
func TestCopyInterrupted(t *testing.T) {
	b, to := newBox(t), newBox(t)
	for range 10 {
		b.drop("cur/")
	}
	ctx, cancel := context.WithCancel(ctx)
	links := 0
	f := &hooked{wrong: func(op, _ string) error {
		if op == "link" {
			if links++; links == 3 {
				cancel()
			}
		}
		return nil
	}}
	env := newEnv(t)
	c, dst := b.beside(to, env, f)
	f.on.Store(true)
	_, err := c.v.Copy(ctx, c.uids, dst)
	if files := to.files(); !errors.Is(err, context.Canceled) || links > 3 || len(files) > 0 {
		t.Errorf("%v after %d links, left %v", err, links, files)
	}
}

// TestMoveFromLocked: while another program holds the lock of the mailbox with the originals, a
// MOVE copies nothing, so that nobody sees copies that may be taken back.
func TestMoveFromLocked(t *testing.T) {
	b, to, env := newBox(t), newBox(t), newEnv(t)
	b.drop("cur/")
	c, dst := b.beside(to, env, &hooked{})
	must(t, os.WriteFile(b.file(uidlistLock), []byte("77:elsewhere"), 0o600))
	defer b.remove(uidlistLock)
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	moved, err := c.v.Move(ctx, c.uids, dst)
	if !errors.Is(err, context.DeadlineExceeded) || len(moved.Source) > 0 {
		t.Errorf("moved %v, %v", moved.Source, err)
	}
	if next := dst.UIDNext(); next != 1 || len(to.files()) > 0 {
		t.Errorf("there are %v, the next UID is %d", to.files(), next)
	}
}
