package mailbox

import (
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/filename"
)

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
