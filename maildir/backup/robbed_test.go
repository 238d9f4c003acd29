package backup

import (
	"hash/maphash"
	"os"
	"path/filepath"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/walk"
)

// TestRobbed: locks are given back for a moment in long work. If somebody else
// has one of them when they are to be taken again, the folders that were not
// visited yet are visited once more, as their messages have no UIDs.
func TestRobbed(t *testing.T) {
	ctx := t.Context()
	path := t.TempDir()
	maildirAt(t, path, ".A")
	write(t, filepath.Join(path, "cur/1.a:2,"), "x")
	write(t, filepath.Join(path, ".A/cur/2.b:2,"), "x")
	root, err := dirfd.Open(path)
	must(t, err)
	defer root.Close()
	dest, err := dirfd.Open(t.TempDir())
	must(t, err)
	defer dest.Close()
	target, err := dirfd.Open(t.TempDir())
	must(t, err)
	s := &snapshot{opt: Options{Locker: dotlock.NewLocker("")}, root: root, dest: dest, target: target, folders: map[string]*folder{},
		seed: maphash.MakeSeed(), events: newEvents(root)}
	defer s.close()
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
		for _, dir := range []string{path, target.Path()} {
			if found, _ := uids(t, filepath.Join(dir, f)); len(found) != 1 {
				t.Errorf("%s of %s has the UIDs %v", walk.Title(f), dir, found)
			}
		}
	}
}
