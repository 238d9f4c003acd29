package mailbox

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox/table"
)

// TestMailDirsNote: sync syncs the directories in which names came or went, or may have.
func TestMailDirsNote(t *testing.T) {
	fresh, old := entry{where: table.InNew, name: "1.P1.a"}, entry{where: table.InCur, name: "1.P1.a:2,"}
	for name, c := range map[string]struct {
		files  []entry // one file under all of these names
		wrong  error   // of removing and renaming, which are done all the same
		do     func(d *mailDirs, st dirfd.Stat) error
		err    error
		left   []string
		synced []string
	}{
		"move": {
			files: []entry{fresh},
			do:    func(d *mailDirs, _ dirfd.Stat) error { return d.move(fresh, old) },
			left:  []string{"cur/1.P1.a:2,"}, synced: []string{"cur", "new"},
		},
		"move to another name of the file": {
			files: []entry{fresh, old},
			do:    func(d *mailDirs, _ dirfd.Stat) error { return d.move(fresh, old) },
			left:  []string{"cur/1.P1.a:2,"}, synced: []string{"cur", "new"},
		},
		"move what is not there": {
			do:  func(d *mailDirs, _ dirfd.Stat) error { return d.move(fresh, old) },
			err: fs.ErrNotExist,
		},
		"move that fails and is done": {
			files: []entry{fresh}, wrong: syscall.EIO,
			do:   func(d *mailDirs, _ dirfd.Stat) error { return d.move(fresh, old) },
			err:  syscall.EIO,
			left: []string{"cur/1.P1.a:2,"}, synced: []string{"cur", "new"},
		},
		"remove": {
			files: []entry{fresh},
			do:    func(d *mailDirs, _ dirfd.Stat) error { return d.remove(fresh) }, synced: []string{"new"},
		},
		"remove that fails and is done": {
			files: []entry{fresh}, wrong: syscall.EIO,
			do:  func(d *mailDirs, _ dirfd.Stat) error { return d.remove(fresh) },
			err: syscall.EIO, synced: []string{"new"},
		},
		"remove what is not there": {
			do:  func(d *mailDirs, _ dirfd.Stat) error { return d.remove(fresh) },
			err: fs.ErrNotExist,
		},
		"link": {
			files: []entry{fresh},
			do:    func(d *mailDirs, st dirfd.Stat) error { return d.link(d, fresh, st, old) },
			left:  []string{"cur/1.P1.a:2,", "new/1.P1.a"}, synced: []string{"cur"},
		},
		"link to a name that the file has": {
			files: []entry{fresh, old},
			do:    func(d *mailDirs, st dirfd.Stat) error { return d.link(d, fresh, st, old) },
			err:   fs.ErrExist,
			left:  []string{"cur/1.P1.a:2,", "new/1.P1.a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			dir, err := dirfd.Open(b.path)
			must(t, err)
			dirs, err := delivery.FindDirs(dir)
			must(t, err)
			defer dirs.Close()
			d := &mailDirs{Dirs: dirs, fsync: true}
			path := func(e entry) string { return b.file([]string{"new/", "cur/"}[e.where] + e.name) }
			var st dirfd.Stat
			for i, e := range c.files {
				if i == 0 {
					must(t, os.WriteFile(path(e), nil, 0o600))
					st, err = d.lstat(e)
					must(t, err)
				} else {
					must(t, os.Link(path(c.files[0]), path(e)))
				}
			}
			var synced []string
			hook := func(op, at string) error {
				switch {
				case op == "sync":
					synced = append(synced, at[len(at)-3:])
				case c.wrong == nil:
				case op == "remove":
					must(t, os.Remove(at))
					return c.wrong
				case op == "rename":
					must(t, os.Rename(path(fresh), path(old)))
					return c.wrong
				}
				return nil
			}
			dirs.New.Before(hook)
			dirs.Cur.Before(hook)
			if err := c.do(d, st); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			must(t, d.sync())
			must(t, d.sync()) // there is nothing left to do
			if !slices.Equal(synced, c.synced) {
				t.Errorf("synced %q, want %q", synced, c.synced)
			}
			var left []string
			for name := range b.files() {
				left = append(left, name)
			}
			if slices.Sort(left); !slices.Equal(left, c.left) {
				t.Errorf("there is %q, want %q", left, c.left)
			}
		})
	}
}

// TestMailDirsSyncFails: what could not be synced is tried again.
func TestMailDirsSyncFails(t *testing.T) {
	b := newBox(t)
	b.drop("new/a")
	dir, err := dirfd.Open(b.path)
	must(t, err)
	dirs, err := delivery.FindDirs(dir)
	must(t, err)
	defer dirs.Close()
	d := &mailDirs{Dirs: dirs, fsync: true}
	must(t, d.move(entry{where: table.InNew, name: "a"}, entry{where: table.InCur, name: "a:2,"}))
	tries := 0
	dirs.New.Before(func(op, _ string) error {
		if tries++; op == "sync" && tries == 1 {
			return syscall.EIO
		}
		return nil
	})
	if err := d.sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	must(t, d.sync())
	if tries != 2 {
		t.Errorf("%d attempts", tries)
	}
}
