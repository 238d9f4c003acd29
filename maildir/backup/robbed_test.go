package backup

import (
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/walk"
)

// TestRobbed: locks are released for a moment during long work. If another program holds
// one of them when they are to be acquired again, the folders that were not visited yet are
// visited again, because their messages have no UIDs.
func TestRobbed(t *testing.T) {
	ctx := t.Context()
	path := t.TempDir()
	maildirAt(t, path, ".A")
	write(t, filepath.Join(path, "cur/1.a:2,"), "x")
	write(t, filepath.Join(path, ".A/cur/2.b:2,"), "x")
	s := begun(t, path)
	s.Passes = 2
	changed, err := s.changed()
	must(t, err)
	h := &hold{locker: s.opt.Locker, longest: &s.LongestLock}
	for _, f := range changed {
		o, err := s.open(f)
		must(t, err)
		defer o.close()
		must(t, s.prepare(o))
		h.folders = append(h.folders, o)
	}
	must(t, h.acquire(ctx))
	other := filepath.Join(path, ".A", lockName)
	must(t, os.Remove(other))
	write(t, other, "1:elsewhere")
	h.since = time.Now().Add(-time.Minute)
	must(t, h.tick(ctx))
	if h.locked() {
		t.Fatal("all locks were taken again")
	}
	for _, o := range h.folders {
		must(t, s.update(ctx, o, h))
		if !s.unnumbered(o.f) {
			t.Errorf("%s counts as done", walk.Title(o.f.path))
		}
		o.f.list, o.f.recorded = nil, nil
	}
	must(t, os.Remove(other))
	must(t, s.settle(ctx))
	for _, f := range []string{"", ".A"} {
		for _, dir := range []string{path, s.target.Path()} {
			if found, _ := uids(t, filepath.Join(dir, f)); len(found) != 1 {
				t.Errorf("%s of %s has the UIDs %v", walk.Title(f), dir, found)
			}
		}
	}
}

// TestRemovedWhileUpdated: one of the folders that are locked together is removed when the locks are
// released for a moment. What has come to the others is in the copy.
func TestRemovedWhileUpdated(t *testing.T) {
	ctx := t.Context()
	path := t.TempDir()
	maildirAt(t, path, ".A")
	s := watched(t, path)
	s.Passes = 2
	const many = 300
	for i := range many {
		write(t, filepath.Join(path, "cur", fmt.Sprintf("%d.a:2,", i)), "x")
	}
	h := &hold{locker: s.opt.Locker, longest: &s.LongestLock}
	for _, f := range []string{"", ".A"} {
		o, err := s.open(s.folders[f])
		must(t, err)
		defer o.close()
		must(t, s.prepare(o))
		h.folders = append(h.folders, o)
	}
	must(t, h.acquire(ctx))
	must(t, s.events.drain())
	must(t, os.RemoveAll(filepath.Join(path, ".A")))
	h.since = time.Now().Add(-time.Minute)
	if settled, err := s.updateAll(ctx, h.folders, h); settled || err != nil {
		t.Errorf("settled %t, %v", settled, err)
	}
	h.folders[0].f.list, h.folders[0].f.recorded = nil, nil
	must(t, s.settle(ctx))
	if got := len(messages(t, s.target.Path())); got != many {
		t.Errorf("the copy has %d messages of %d", got, many)
	}
	if found, _ := uids(t, s.target.Path()); len(found) != many {
		t.Errorf("%d messages of %d have UIDs", len(found), many)
	}
}

// TestCopiedAhead: a folder is listed again without its lock, and then not visited, because another
// one was removed while the locks were acquired. It is visited in the next pass, in which its
// messages get UIDs.
func TestCopiedAhead(t *testing.T) {
	path := t.TempDir()
	maildirAt(t, path, ".A")
	s := watched(t, path)
	write(t, filepath.Join(path, ".A/cur/1.a:2,"), "x")
	f := s.folders[".A"]
	f.dirs[1].listed = false
	must(t, s.events.drain())
	must(t, s.bulk(t.Context(), f))
	must(t, s.settle(t.Context()))
	if found, _ := uids(t, filepath.Join(s.target.Path(), ".A")); len(found) != 1 {
		t.Errorf("UIDs %v", found)
	}
}

// TestListedTwice: a message is renamed while its folder is listed, and is listed under both names.
// It has a UID in the copy, where it has only the later one.
func TestListedTwice(t *testing.T) {
	path := t.TempDir()
	maildirAt(t, path)
	before, after := "1.a:2,", "1.a:2,S"
	write(t, filepath.Join(path, "cur", before), "x")
	s := begun(t, path)
	changed, err := s.changed()
	must(t, err)
	must(t, s.bulk(t.Context(), changed[0]))
	must(t, os.Rename(filepath.Join(path, "cur", before), filepath.Join(path, "cur", after)))
	o, err := s.open(changed[0])
	must(t, err)
	defer o.close()
	_, err = s.message(o, 1, after, dirfd.KindRegular)
	must(t, err)
	must(t, s.settle(t.Context()))
	for _, dir := range []string{path, s.target.Path()} {
		if found, _ := uids(t, dir); len(found) != 1 || len(messages(t, dir)["1.a"]) != 1 {
			t.Errorf("%s has UIDs %v for %v", dir, found, messages(t, dir))
		}
	}
}

// TestListedLate: a directory that has to be listed again is listed after the moment of the
// pass. A message that moved from it in between to a folder that was seen at that moment
// would be in neither.
func TestListedLate(t *testing.T) {
	ctx := t.Context()
	path := t.TempDir()
	maildirAt(t, path, ".A")
	write(t, filepath.Join(path, ".A/cur/1.a:2,"), "x")
	s := watched(t, path)
	// As after a name that was not found.
	s.folders[".A"].dirs[1].listed = false
	must(t, s.events.drain()) // the moment
	must(t, os.Rename(filepath.Join(path, ".A/cur/1.a:2,"), filepath.Join(path, "cur/1.a:2,")))
	settled := true
	for _, f := range []string{"", ".A"} {
		o, err := s.open(s.folders[f])
		must(t, err)
		must(t, s.capture(ctx, o, &hold{locker: s.opt.Locker, longest: &s.LongestLock}))
		same, err := s.seen(o)
		must(t, err)
		settled = settled && same
		o.close()
	}
	if settled {
		t.Error("the pass counts as the last one")
	}
	_, err := s.rearrange()
	must(t, err)
	must(t, s.settle(ctx))
	if got := messages(t, s.target.Path())["1.a"]; len(got) != 1 {
		t.Errorf("INBOX of the copy has the message as %q", got)
	}
	if got := messages(t, filepath.Join(s.target.Path(), ".A")); len(got) != 0 {
		t.Errorf("the folder that it left has %v", got)
	}
}

// TestHalfMove: the rename of a message is reported by two events. A moment between them,
// at which the message has left one directory and arrived nowhere, must not be used.
func TestHalfMove(t *testing.T) {
	ctx := t.Context()
	for _, to := range []string{"cur/1.a:2,", ".A/cur/1.a:2,S", "elsewhere"} {
		path := t.TempDir()
		maildirAt(t, path, ".A")
		write(t, filepath.Join(path, ".A/cur/1.a:2,"), "x")
		s := watched(t, path)

		// As if the second event came late.
		calls := 0
		s.events.read = func(fd int, buf []byte) (int, error) {
			if calls++; calls == 2 {
				return 0, unix.EAGAIN
			}
			return unix.Read(fd, buf[:min(len(buf), unix.SizeofInotifyEvent+32)])
		}
		must(t, os.Rename(filepath.Join(path, ".A/cur/1.a:2,"), filepath.Join(path, to)))
		s.Passes = 2
		done, err := s.visit(ctx, []*folder{s.folders[".A"]})
		must(t, err)
		if settled := len(done) > 0; settled != (to != "cur/1.a:2,") {
			t.Errorf("moved to %s: the pass counts as the last one: %t", to, settled)
		}
		if calls < 3 {
			t.Errorf("moved to %s: the events were read %d times", to, calls)
		}
		must(t, s.settle(ctx))
		got := len(messages(t, s.target.Path())["1.a"]) + len(messages(t, filepath.Join(s.target.Path(), ".A"))["1.a"])
		if want := len(messages(t, path)["1.a"]) + len(messages(t, filepath.Join(path, ".A"))["1.a"]); got != want {
			t.Errorf("moved to %s: the copy has it %d times, the Maildir %d", to, got, want)
		}
	}
}

// TestNoUIDForWhatLeft: a message that left before the folder was locked gets no UID there,
// whatever the listing returned.
func TestNoUIDForWhatLeft(t *testing.T) {
	ctx := t.Context()
	path := t.TempDir()
	maildirAt(t, path, ".A")
	write(t, filepath.Join(path, ".A/cur/1.a:2,"), "x")
	write(t, filepath.Join(path, ".A/cur/2.b:2,"), "x")
	s := begun(t, path)
	s.Passes = 1
	changed, err := s.changed()
	must(t, err)
	for _, f := range changed {
		must(t, s.bulk(ctx, f))
	}
	must(t, os.Rename(filepath.Join(path, ".A/cur/1.a:2,"), filepath.Join(path, "cur/1.a:2,")))
	for _, f := range changed {
		_, err := s.visit(ctx, []*folder{f})
		must(t, err)
	}
	if list, _ := uids(t, filepath.Join(path, ".A")); len(list) != 1 || list["2.b"] == 0 {
		t.Errorf("the folder's list has %v", list)
	}
}

// watched returns a snapshot of the Maildir at path after its first pass: events report
// what changes from now on.
func watched(t *testing.T, path string) *snapshot {
	t.Helper()
	s := begun(t, path)
	if s.events == nil {
		t.Fatal("the kernel gives no events here")
	}
	s.Passes = 1
	changed, err := s.changed()
	must(t, err)
	_, err = s.pass(t.Context(), changed)
	must(t, err)
	return s
}

// begun returns a snapshot of the Maildir at path before its first pass.
func begun(t *testing.T, path string) *snapshot {
	t.Helper()
	open := func(path string) *dirfd.Dir {
		d, err := dirfd.Open(path)
		must(t, err)
		return d
	}
	root, dest := open(path), open(t.TempDir())
	s := &snapshot{opt: Options{Locker: dotlock.NewLocker("")}, root: root, dest: dest, target: open(t.TempDir()),
		folders: map[string]*folder{}, seed: maphash.MakeSeed(), events: newEvents(root)}
	t.Cleanup(func() { s.close(); root.Close(); dest.Close() })
	return s
}

// TestRemovedWhileListed: a folder is removed while it is listed again, without its lock. A name that
// was found to be gone before is not looked for in its copy once that is removed.
func TestRemovedWhileListed(t *testing.T) {
	path := t.TempDir()
	maildirAt(t, path, ".A")
	write(t, filepath.Join(path, ".A/new/1.a"), "x")
	s := watched(t, path)
	f := s.folders[".A"]
	f.dirs[0].listed, f.dirs[1].listed = false, false
	must(t, os.Remove(filepath.Join(path, ".A/new/1.a")))
	s.root.Before(func(op, name string) error {
		if op == "list on" && name == filepath.Join(path, ".A/cur") {
			must(t, os.RemoveAll(filepath.Join(path, ".A")))
		}
		return nil
	})
	must(t, s.bulk(t.Context(), f))
	if _, err := os.Lstat(filepath.Join(path, ".A")); !os.IsNotExist(err) {
		t.Fatalf("it was not listed: %v", err)
	}
	must(t, s.settle(t.Context()))
}
