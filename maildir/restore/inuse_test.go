package restore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
)

// TestInUse: in a Maildir that another program is using, the last name of a message is never
// removed, whatever that program does to the other name.
func TestInUse(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(cur string) error // after they were compared; nil: they are names of one file
		want      []string
	}{
		// mutt removes the name from which it renames once it has made the other one.
		{"renamed by link and unlink", nil, []string{"cur/1.a:2,", "cur/1.a:2,S", "cur/2.b:2,"}},
		{"the kept one removed", func(cur string) error { return os.Remove(cur + "1.a:2,S") }, []string{"cur/1.a:2,", "cur/2.b:2,"}},
		{"the kept one replaced", func(cur string) error { return os.Rename(cur+"2.b:2,", cur+"1.a:2,S") }, []string{"cur/1.a:2,", "cur/1.a:2,S"}},
		{"the other one replaced", func(cur string) error { return os.Rename(cur+"2.b:2,", cur+"1.a:2,") }, []string{"cur/1.a:2,", "cur/1.a:2,S"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildirWith(t, "cur/1.a:2,|x", "cur/2.b:2,|y", "cur/1.a:2,S|x")
			cur := filepath.Join(root, "cur") + "/"
			if c.meanwhile == nil {
				must(t, os.Remove(cur+"1.a:2,S"))
				must(t, os.Link(cur+"1.a:2,", cur+"1.a:2,S"))
			}
			opened := 0
			r, err := Run(t.Context(), Options{
				Root: root, Locker: dotlock.NewLocker(""), Delivery: &delivery.Options{Host: "host", PID: os.Getpid()},
				Accept: func(d *dirfd.Dir) error {
					d.Before(func(op, path string) error {
						if op == "open" && strings.Contains(path, "/cur/1.a:") {
							opened++
						} else if opened == 2 {
							opened++
							return c.meanwhile(cur)
						}
						return nil
					})
					return nil
				},
			})
			must(t, err)
			if got := messages(t, root); r.Merged != 0 || !slices.Equal(got, c.want) {
				t.Errorf("%+v, left are %q, want %q", r, got, c.want)
			}
		})
	}
}
