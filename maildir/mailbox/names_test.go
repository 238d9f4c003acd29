package mailbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/filename"
)

// TestRenamedWhileInUse: mutt renames without a lock between our look and our use of the
// name.
func TestRenamedWhileInUse(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		b.drop("cur/200.M1P1.h:2,")
		c := b.session(env)
		b.rename("cur/100.M1P1.h:2,", "cur/100.M1P1.h:2,S")
		if got := read(t, c, 1); !strings.Contains(got, "hello") {
			t.Errorf("read %q", got)
		}
		b.rename("cur/100.M1P1.h:2,S", "cur/100.M1P1.h:2,FS")
		_, err := c.v.Store(ctx, []uint32{1}, Add, filename.Answered, nil)
		must(t, err)
		if !b.files()["cur/100.M1P1.h:2,FRS"] {
			t.Errorf("STORE lost a flag: %v", b.files())
		}
		b.rename("cur/200.M1P1.h:2,", "cur/200.M1P1.h:2,T")
		must(t, c.v.Poll(ctx))
		b.rename("cur/200.M1P1.h:2,T", "cur/200.M1P1.h:2,ST")
		gone, err := c.v.Expunge(ctx, nil)
		must(t, err)
		if !slices.Equal(gone, []uint32{2}) {
			t.Errorf("expunged %v", gone)
		}
		if len(b.files()) != 1 {
			t.Errorf("files %v", b.files())
		}
	})
}

// TestSameBaseTwice: a second file with the same base becomes a message of its own.
func TestSameBaseTwice(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		c := b.session(env)
		b.drop("cur/100.M1P1.h:2,S")
		wantUpdates(t, c.poll(true), "exists 2", "recent 2")
		if want := []uint32{1, 2}; !slices.Equal(c.uids, want) {
			t.Errorf("UIDs %v", c.uids)
		}
		if !b.files()["cur/100.M1P1.h:2,"] || len(b.files()) != 2 {
			t.Errorf("files %v", b.files())
		}
	})
}

// TestHardLink: two names of one file are one message, and removing one name does not
// remove the message.
func TestHardLink(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		c := b.session(env)
		must(t, os.Link(b.file("cur/100.M1P1.h:2,"), b.file("cur/100.M1P1.h:2,S")))
		if got := c.poll(true); len(c.uids) != 1 {
			t.Errorf("told %q", got)
		}
		b.remove("cur/100.M1P1.h:2,")
		wantUpdates(t, c.poll(true), "flags 1 S")
	})
}

// TestReappears: a message that a client saw vanish comes back under a new UID.
func TestReappears(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		b.drop("cur/200.M1P1.h:2,")
		c := b.session(env)
		must(t, os.Rename(b.file("cur/100.M1P1.h:2,"), b.file("tmp/away")))
		wantUpdates(t, c.poll(true), "expunge 1", "recent 1")
		must(t, os.Rename(b.file("tmp/away"), b.file("cur/100.M1P1.h:2,")))
		wantUpdates(t, c.poll(true), "exists 2", "recent 2")
		if want := []uint32{2, 3}; !slices.Equal(c.uids, want) {
			t.Errorf("UIDs %v, want %v", c.uids, want)
		}
	})
}

// TestMovedAwayAndBack lets a file return after its UID was seen to vanish: the list has
// only the new UID.
func TestMovedAwayAndBack(t *testing.T) {
	b := newBox(t)
	for range 3 {
		b.drop("cur/")
	}
	f := b.drop("cur/")
	base := filename.Base(filepath.Base(f))
	c := b.session(newEnv(t))
	for round := range uint32(3) {
		b.rename(f, "tmp/away")
		c.poll(true)
		b.rename("tmp/away", f)
		c.poll(true)
		list, err := os.ReadFile(b.file("dovecot-uidlist"))
		must(t, err)
		if n := strings.Count(string(list), ":"+base+"\n"); n != 1 {
			t.Fatalf("%d records of %s in\n%s", n, base, list)
		}
		if want := []uint32{1, 2, 3, 5 + round}; !slices.Equal(c.uids, want) {
			t.Fatalf("UIDs %v, want %v", c.uids, want)
		}
	}
}

func TestNoBase(t *testing.T) {
	b := newBox(t)
	b.drop("cur/:2,S")
	c := b.session(newEnv(t))
	if len(c.uids) != 1 || c.all()[0].Flags != filename.Seen {
		t.Errorf("%+v in %v", c.all(), b.files())
	}
}

// TestNothingRegular: what is not a message is skipped and does no harm.
func TestNothingRegular(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		must(t, os.Symlink("/dev/zero", b.file("cur/200.M1P1.h:2,")))
		must(t, os.Mkdir(b.file("new/300.M1P1.h"), 0o700))
		c := b.session(env)
		must(t, os.Symlink("/etc/passwd", b.file("new/400.M1P1.h")))
		b.drop("new/.hidden")
		wantUpdates(t, c.poll(true))
		if len(c.uids) != 1 {
			t.Errorf("%d messages", len(c.uids))
		}
	})
}
