package mailbox

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/filename"
)

// TestDoneAndNotTidied: mail that was removed is not reported as still there because the
// list could not be rewritten after that, or because the lock was taken away meanwhile. On a
// disk without room for the lock, the same goes for what is done once there is room.
func TestDoneAndNotTidied(t *testing.T) {
	for name, wrong := range map[string]func(b *box, op, path string) error{
		"the list": func(_ *box, op, path string) error {
			if strings.HasSuffix(path, uidlistName+".tmp") {
				return syscall.EIO
			}
			return nil
		},
		"the lock": func(b *box, op, path string) error {
			if op == "remove" && strings.Contains(path, "/cur/") {
				_ = os.Remove(b.file(uidlistLock))
			}
			return nil
		},
		"a full disk": func() func(b *box, op, path string) error {
			removed := false
			return func(b *box, op, path string) error {
				removed = removed || op == "remove" && strings.Contains(path, "/cur/")
				switch {
				case op == "create" && strings.HasSuffix(path, uidlistLock) && !removed:
					return syscall.ENOSPC
				case strings.HasSuffix(path, uidlistName+".tmp"):
					return syscall.EIO
				}
				return nil
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for range 200 { // so many that the list is due to be rewritten
				b.drop("cur/")
			}
			f := &hooked{wrong: func(op, path string) error { return wrong(b, op, path) }}
			m := b.openWith(newEnv(t), f.before)
			defer m.Close()
			m.shortList = 0
			there := newBox(t).open(newEnv(t))
			defer there.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			if removed, err := c.v.Remove(ctx); err != nil || len(removed) != 0 {
				t.Errorf("without UIDs: removed %d, %v", len(removed), err)
			}
			f.on.Store(true)
			removed, err := c.v.Remove(ctx, c.uids[1:]...)
			f.on.Store(false)
			if err != nil || len(removed) != 199 || len(b.files()) != 1 {
				t.Errorf("removed %d, %v; there are %v", len(removed), err, b.files())
			}
			if c.poll(true); len(c.uids) != 1 || m.list.Damaged() {
				t.Errorf("the client has %v", c.uids)
			}
			if list, err := os.ReadFile(b.file(uidlistName)); err != nil || strings.Count(string(list), "\n") > 2 {
				t.Errorf("the list was not rewritten by the next look: %v\n%s", err, list)
			}
		})
	}
}

// TestDoneAndNotSettled: if a change was made, but what others did to the mailbox cannot be
// found out after it, the change is not refused: the client would repeat it.
func TestDoneAndNotSettled(t *testing.T) {
	for name, change := range map[string]func(c *client, there *Mailbox) error{
		"append": func(c *client, _ *Mailbox) error { _, err := appendTo(c.v.m, 0, "text"); return err },
		"move":   func(c *client, there *Mailbox) error { _, err := c.v.Move(ctx, c.uids[1:], there); return err },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.drop("cur/100.M1P1.h:2,")
			b.drop("cur/200.M1P1.h:2,")
			f := &hooked{wrong: func(op, path string) error {
				if op == "stat" && strings.Contains(path, "/100.M1P1.h") {
					return syscall.EIO
				}
				return nil
			}}
			m := b.openWith(newEnv(t), f.before)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			there := newBox(t).open(newEnv(t))
			defer there.Close()
			other := b.open(unwatched(t))
			defer other.Close()
			d := connect(t, other, false)
			defer d.v.Close()
			_, err := d.v.Store(ctx, d.uids[:1], Add, filename.Flagged, nil)
			must(t, err)
			f.on.Store(true)
			err = change(c, there)
			f.on.Store(false)
			must(t, err)
			for range 2 {
				c.poll(true)
			}
			if all := c.all(); len(all) != len(b.files()) || all[0].Flags != filename.Flagged {
				t.Errorf("there are %v, files %v", all, b.files())
			}
		})
	}
}
