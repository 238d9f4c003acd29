package mailbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// TestRenumbered: another program gives a message a new UID in the list, as Dovecot does
// with one that it considered gone; no file changes its name.
func TestRenumbered(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		for range 3 {
			b.drop("cur/")
		}
		c := b.session(env)
		c.poll(true)
		list := b.read(uidlistName)
		first := strings.Split(list, "\n")[1]
		base := first[strings.IndexByte(first, ':'):]
		f, err := os.OpenFile(b.file(uidlistName), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString("4 " + base + "\n")
		must(t, err)
		must(t, f.Close())
		c.poll(true)
		if want := []uint32{2, 3, 4}; !slices.Equal(c.uids, want) {
			t.Errorf("UIDs %v, want %v", c.uids, want)
		}
	})
}

// TestUndeletedMeanwhile: another program removes \Deleted from a message before EXPUNGE
// gets to its file.
func TestUndeletedMeanwhile(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		one, two := b.drop("cur/"), b.drop("cur/")
		c := b.session(env)
		b.rename(one, one+"T")
		b.rename(two, two+"T")
		c.poll(true)
		b.rename(one+"T", one+"S")
		removed, err := c.v.Expunge(ctx, nil)
		must(t, err)
		if !slices.Equal(removed, []uint32{2}) {
			t.Errorf("removed %v", removed)
		}
		c.poll(true)
		if !slices.Equal(c.uids, []uint32{1}) || c.all()[0].Flags != filename.Seen || !b.files()[one+"S"] {
			t.Errorf("left are %v: %+v in %v", c.uids, c.all(), b.files())
		}
	})
}

// TestCopyOntoUnseen: a copy does not get the base of a file that has just come into the
// destination with different flags.
func TestCopyOntoUnseen(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b, d := newBox(t), newBox(t)
		one := b.drop("cur/")
		m, dst := b.open(env), d.open(env)
		defer m.Close()
		defer dst.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		other := connect(t, dst, false)
		defer other.v.Close()
		d.drop(one + "F")
		_, err := c.v.Copy(ctx, c.uids, dst)
		must(t, err)
		bases := map[string]bool{}
		for f := range d.files() {
			bases[filename.Base(f[strings.IndexByte(f, '/')+1:])] = true
		}
		if len(bases) != 2 || len(d.files()) != 2 {
			t.Errorf("the files are %v", d.files())
		}
	})
}

// TestReplacedFile: a file replaces another one with its name between two looks; it does
// not get the date of the other. This also works if events lag behind, so that the folder
// is scanned, once they have arrived.
func TestReplacedFile(t *testing.T) {
	for name, lag := range map[string]func(*Mailbox){
		"events":           func(*Mailbox) {},
		"dropped":          func(m *Mailbox) { m.events.orderScan() },
		"events were lost": func(m *Mailbox) { m.event(table.InCur, watch.Event{Op: watch.Lost}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			one := b.drop("cur/")
			old, date := time.Unix(1_700_000_000, 0), time.Unix(1_710_000_000, 0)
			must(t, os.Chtimes(b.file(one), old, old))
			m := b.open(newEnv(t))
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			if got, err := c.v.Date(c.all()[0]); err != nil || !got.Equal(old) {
				t.Fatal(got, err)
			}
			text := b.read(one)
			b.remove(one)
			must(t, os.WriteFile(b.file("tmp/x"), []byte(text), 0o600))
			must(t, os.Chtimes(b.file("tmp/x"), date, date))
			b.rename("tmp/x", one)
			awaitEvents(t, m)
			lag(m)
			c.poll(true)
			if got, err := c.v.Date(c.all()[0]); err != nil || !got.Equal(date) {
				t.Errorf("the date is %v (%v), that of the file is %v", got, err, date)
			}
		})
	}
}

// awaitEvents waits until the events for what happened are in the queue.
func awaitEvents(t *testing.T, m *Mailbox) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !m.env.Watcher.Barrier(ctx); {
		if time.Now().After(end) {
			t.Fatal("events do not come")
		}
	}
}

// TestReplacedByRename: another program replaces a message's file by another one with a
// rename, as mv, rsync and scripts that encrypt mail do; the latter keep the time of the
// previous file.
func TestReplacedByRename(t *testing.T) {
	old, date := time.Unix(1_700_000_000, 0), time.Unix(1_710_000_000, 0)
	for name, to := range map[string]time.Time{"another time": date, "the same time": old, "now": time.Now()} {
		t.Run(name, func(t *testing.T) {
			b, dir := newBox(t), t.TempDir()
			one := b.drop("cur/")
			must(t, os.Chtimes(b.file(one), old, old))
			b.settle()
			env := keeping(t, dir)
			m := b.open(env)
			c := connect(t, m, false)
			know := func(c *client) (size int64, at time.Time) {
				t.Helper()
				cached := c.v.Cached()
				defer cached.Close()
				size, err := c.v.Size(c.all()[0], func() error { return nil })
				must(t, err)
				at, err = c.v.Date(c.all()[0])
				must(t, err)
				return size, at
			}
			before, _ := know(c)
			text := b.read(one) + strings.Repeat("more\r\n", 1000)
			must(t, os.WriteFile(b.file("tmp/x"), []byte(text), 0o600))
			must(t, os.Chtimes(b.file("tmp/x"), to, to))
			b.rename("tmp/x", one)
			awaitEvents(t, m)
			c.poll(true)
			size, at := know(c)
			if size <= before+5000 || !at.Equal(to) {
				t.Errorf("%d octets of %v, before %d; the file is of %v", size, at, before, to)
			}
			c.v.Close()
			m.Close()
			// Nor does what was known of the first file come back.
			next := b.open(keeping(t, dir))
			defer next.Close()
			c = connect(t, next, false)
			defer c.v.Close()
			if again, at := know(c); again != size || !at.Equal(to) {
				t.Errorf("after a restart %d octets of %v, before it %d", again, at, size)
			}
		})
	}
}

// TestRemovedWhileLookedAt: another process renamed a file, and the history says so. Somebody
// removes it between the call that finds it and its entry in the table.
func TestRemovedWhileLookedAt(t *testing.T) {
	b, env := newBox(t), newEnv(t)
	b.drop("cur/100.M1P1.h:2,")
	f := &hooked{}
	found := false
	f.wrong = func(op, path string) error {
		switch {
		case op != "stat" || filepath.Dir(path) != b.file("cur"):
		case filepath.Base(path) == "100.M1P1.h:2,F":
			found = true
		case found:
			f.on.Store(false)
			b.remove("cur/100.M1P1.h:2,F")
			for !env.Watcher.Barrier(ctx) {
			}
		}
		return nil
	}
	m := b.openWith(env, f.before)
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	other := b.open(unwatched(t))
	defer other.Close()
	d := connect(t, other, false)
	defer d.v.Close()
	_, err := d.v.Store(ctx, d.uids, Add, filename.Flagged, nil)
	must(t, err)
	f.on.Store(true)
	_, err = c.v.TellModSeq(ctx)
	must(t, err)
	if f.on.Load() {
		t.Fatal("the file was not looked at")
	}
	c.poll(true)
	if len(c.uids) > 0 {
		t.Errorf("there is %v, files %v", c.uids, b.files())
	}
}
