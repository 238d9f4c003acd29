package mailbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMoveRemovedAllTheSame: a removal that fails may have been done, as on a network file
// system. MOVE then does not take back the copy, which is all that is left of the message.
func TestMoveRemovedAllTheSame(t *testing.T) {
	a, b := newBox(t), newBox(t)
	for range 3 {
		a.drop("cur/")
	}
	env := newEnv(t)
	f := &hooked{wrong: func(op, path string) error {
		if op != "remove" || !strings.HasSuffix(filepath.Base(path), ".M2P1.other:2,") {
			return nil
		}
		must(t, os.Remove(path))
		return syscall.EIO
	}}
	c, to := a.beside(b, env, f)
	f.on.Store(true)
	moved, err := c.v.Move(ctx, []uint32{1, 2, 3}, to)
	if !errors.Is(err, syscall.EIO) || len(moved.Source) != 2 || moved.Source[0] != 1 || moved.Source[1] != 2 {
		t.Errorf("moved %v, %v", moved, err)
	}
	d := connect(t, to, false)
	defer d.v.Close()
	if texts := len(d.uids); texts != 2 || !strings.Contains(read(t, d, d.uids[1]), ".M2P1.") {
		t.Errorf("the other mailbox has %v", b.files())
	}
	if c.poll(true); len(c.uids) != 1 || c.uids[0] != 3 {
		t.Errorf("the mailbox has UIDs %v and %v", c.uids, a.files())
	}
}

// TestCopyLinkedAllTheSame is the same for a link that fails: its message is not left in the
// other mailbox by a COPY that was refused, and would be repeated.
func TestCopyLinkedAllTheSame(t *testing.T) {
	a, b := newBox(t), newBox(t)
	a.drop("cur/")
	env := newEnv(t)
	f := &hooked{wrong: func(op, path string) error {
		if op != "link" {
			return nil
		}
		must(t, os.Link(path, b.file("new/"+strings.TrimSuffix(filepath.Base(path), ":2,"))))
		return syscall.EIO
	}}
	c, to := a.beside(b, env, f)
	f.on.Store(true)
	copied, err := c.v.Copy(ctx, []uint32{1}, to)
	if err != nil || len(copied.Dest) != 1 || copied.Dest[0] != 1 {
		t.Errorf("copied %v, %v", copied, err)
	}
	d := connect(t, to, false)
	defer d.v.Close()
	if len(d.uids) != 1 || len(b.files()) != 1 {
		t.Errorf("the other mailbox has UIDs %v and %v", d.uids, b.files())
	}
}
