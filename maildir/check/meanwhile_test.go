package check

import (
	"os"
	"strings"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
)

// TestMeanwhile: what another program does to a message between the look at it and its repair
// neither gives it a wrong name or a new UID, nor hides that something is wrong.
func TestMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name      string
		files     []string // name|text
		meanwhile func(cur string) error
		want      string // the name of the message
		repaired  int
	}{
		{"flagged", []string{"1.a,S=9:2,|x"}, func(cur string) error { return os.Rename(cur+"1.a,S=9:2,", cur+"1.a,S=9:2,S") }, "1.a,S=1,W=1:2,S", 1},
		{"written to the end", []string{"1.a,S=9:2,|x"}, func(cur string) error { return os.WriteFile(cur+"1.a,S=9:2,", []byte("123456789"), 0o600) }, "1.a,S=9:2,", 0},
		{"alone with its name", []string{"1.a:2,|xx", "1.a:2,S|yy"}, func(cur string) error { return os.Remove(cur + "1.a:2,S") }, "1.a:2,", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildir(t)
			for _, f := range c.files {
				name, text, _ := strings.Cut(f, "|")
				write(t, root+"/cur/"+name, text)
			}
			locked := false
			r, err := Run(t.Context(), Options{
				Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP}, Repair: true, Locker: dotlock.NewLocker(""),
				Delivery: &delivery.Options{Host: "host", PID: 1}, Tell: func(Finding) {},
				Now: func() time.Time { return time.Now().Add(48 * time.Hour) },
				Accept: func(d *dirfd.Dir) error {
					d.Before(func(_, path string) error {
						if locked || !strings.Contains(path, "dovecot-uidlist.lock") {
							return nil
						}
						locked = true
						return c.meanwhile(root + "/cur/")
					})
					return nil
				},
			})
			must(t, err)
			entries, err := os.ReadDir(root + "/cur")
			must(t, err)
			if !locked || len(entries) != 1 || entries[0].Name() != c.want || r.Repaired != c.repaired || r.Findings != c.repaired {
				t.Errorf("locked %t, %+v, %v, want %s", locked, r, entries, c.want)
			}
		})
	}
}

// TestStillWritten: the name of a message that a program may still be copying here in place does
// not get the size of what is there so far.
func TestStillWritten(t *testing.T) {
	root := maildir(t)
	write(t, root+"/cur/1.a,S=9:2,", "x")
	var found []Finding
	r, err := Run(t.Context(), Options{
		Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP}, Repair: true, Locker: dotlock.NewLocker(""),
		Tell: func(f Finding) { found = append(found, f) },
	})
	must(t, err)
	if _, err := os.Lstat(root + "/cur/1.a,S=9:2,"); err != nil || r.Findings != 1 || r.Repaired != 0 || len(found) != 1 || found[0].Failed == nil {
		t.Errorf("%v, %+v, found %v", err, r, found)
	}
}
