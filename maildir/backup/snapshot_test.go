package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/uidlist"
)

// listing returns the paths of all files and directories below a directory.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." && err == nil {
			found = append(found, rel)
		}
		return err
	}))
	slices.Sort(found)
	return found
}

// TestWhatIsCopied: everything that belongs to the mail, nothing that programs recreate,
// and no symbolic link, FIFO or socket, in either layout.
func TestWhatIsCopied(t *testing.T) {
	for _, c := range []struct {
		layout, folder, level string
	}{{"maildir++", ".Work.2024", ".Bare"}, {"fs", "Work/2024", "Level"}} {
		t.Run(c.layout, func(t *testing.T) {
			root, dest := t.TempDir(), t.TempDir()
			maildirAt(t, root, c.folder)
			must(t, os.Mkdir(filepath.Join(root, c.level), 0o700))
			keep := []string{
				"cur/1.a:2,S", "new/2.b", "cur/odd\nname", "subscriptions", "maildird-specialuse", "dovecot-keywords", "maildirsize",
				".uidvalidity", c.folder + "/cur/3.c:2,", c.folder + "/dovecot-keywords", c.folder + "/maildirfolder", c.folder + "/some-history",
			}
			leave := []string{
				"tmp/4.d", "cur/.hidden", "dovecot.index", "dovecot.index.log", "dovecot.list.index", "dovecot.mailbox.log", "maildird-urlauth", "maildird-history",
				"dovecot-uidvalidity.tmp.5f000000", "dovecot-keywords.lock", "mailboxes.lock", "mailboxes.lock.XYZ", "dovecot-uidlist.tmp", c.folder + "/dovecot.index.cache", c.folder + "/maildird-history",
			}
			for _, name := range append(slices.Clone(keep), leave...) {
				write(t, filepath.Join(root, name), name)
			}
			outside := filepath.Join(t.TempDir(), "secret")
			write(t, outside, "secret")
			must(t, os.Symlink(outside, filepath.Join(root, "cur/5.link:2,")))
			must(t, os.Symlink(filepath.Dir(outside), filepath.Join(root, ".Linked")))
			must(t, os.Symlink(outside, filepath.Join(root, "linked")))
			must(t, syscall.Mkfifo(filepath.Join(root, "cur/6.fifo:2,"), 0o600))
			must(t, syscall.Mkfifo(filepath.Join(root, "new/7.fifo"), 0o600))
			must(t, os.Mkdir(filepath.Join(root, "cur/8.dir"), 0o700))
			must(t, os.MkdirAll(filepath.Join(root, "..DOVECOT-TRASHED/cur"), 0o700))
			must(t, os.MkdirAll(filepath.Join(root, ".notmuch/xapian"), 0o700))

			r := take(t, root, dest)
			got := listing(t, r.Path)
			for _, name := range keep {
				if !slices.Contains(got, name) {
					t.Errorf("%q is not in the copy", name)
				}
				if text, err := os.ReadFile(filepath.Join(r.Path, name)); err == nil && string(text) != name {
					t.Errorf("%q holds %q", name, text)
				}
			}
			more := []string{"cur", "new", "tmp", c.level, "dovecot-uidlist", "dovecot-uidvalidity", c.folder + "/dovecot-uidlist"}
			for _, name := range got {
				known := slices.Contains(keep, name) || slices.Contains(more, name) || strings.HasPrefix(name, "dovecot-uidvalidity.") && !slices.Contains(leave, name) ||
					strings.HasPrefix(c.folder+"/", name+"/") || filepath.Dir(name) == c.folder && slices.Contains(more, filepath.Base(name))
				if !known {
					t.Errorf("%q is in the copy", name)
				}
			}
			if r.Messages != 4 || r.Folders != 2 || r.Unread {
				t.Errorf("%d messages in %d folders, unread %t, want 4 in 2, false", r.Messages, r.Folders, r.Unread)
			}
			for _, name := range []string{"5.link", "6.fifo", "7.fifo", "8.dir", "linked"} {
				if !strings.Contains(strings.Join(r.Notes, "\n"), name) {
					t.Errorf("no note tells that %s was left out: %q", name, r.Notes)
				}
			}
		})
	}
}

// TestNumbers: all messages have UIDs in the Maildir and the same in the copy, where
// UIDNEXT leaves room for what comes after the snapshot.
func TestNumbers(t *testing.T) {
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root, ".A")
	write(t, filepath.Join(root, "dovecot-uidlist"), "3 V1600000000 N9 G0123456789abcdef0123456789abcdef\n3 Gx :2.b\n8 :1.a\n")
	for _, name := range []string{"cur/1.a:2,S", "new/2.b", "new/9.M2.c", "new/9.M1.d", ".A/cur/5.e:2,"} {
		write(t, filepath.Join(root, name), "x")
	}
	r := take(t, root, dest)
	live, h := uids(t, root)
	copied, c := uids(t, r.Path)
	want := map[string]uint32{"2.b": 3, "1.a": 8, "9.M1.d": 9, "9.M2.c": 10}
	if fmt.Sprint(live) != fmt.Sprint(want) || fmt.Sprint(copied) != fmt.Sprint(want) {
		t.Errorf("UIDs %v, in the copy %v, want %v", live, copied, want)
	}
	if c.UIDValidity != 1600000000 || c.GUID != h.GUID || h.NextUID != 11 || c.NextUID != 11+uidGap {
		t.Errorf("header %+v, in the copy %+v", h, c)
	}
	liveA, hA := uids(t, filepath.Join(root, ".A"))
	copiedA, cA := uids(t, filepath.Join(r.Path, ".A"))
	if liveA["5.e"] != 1 || copiedA["5.e"] != 1 || hA.UIDValidity == 0 || cA.UIDValidity != hA.UIDValidity {
		t.Errorf("the folder without a list: %v %+v, in the copy %v %+v", liveA, hA, copiedA, cA)
	}
	d, err := dirfd.Open(r.Path)
	must(t, err)
	defer d.Close()
	if next, err := uidlist.NextValidity(d, time.Now(), false); err != nil || next < hA.UIDValidity+validityGap {
		t.Errorf("a new folder of the copy gets the UIDVALIDITY %d, %v", next, err)
	}
}

// TestRaiseValidity: a counter that cannot be raised is an error, unless it is at its end.
func TestRaiseValidity(t *testing.T) {
	path := t.TempDir()
	root, err := dirfd.Open(path)
	must(t, err)
	defer root.Close()
	broken := errors.New("broken")
	var failure error
	root.Before(func(op, _ string) error {
		if op == "rename" || op == "create" {
			return failure
		}
		return nil
	})
	must(t, RaiseValidity(root, time.Now()))
	failure = broken
	if err := RaiseValidity(root, time.Now()); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	write(t, filepath.Join(path, "dovecot-uidvalidity.ffffffff"), "")
	must(t, RaiseValidity(root, time.Now()))
}

// TestIncremental: on another file system, a second snapshot copies what is new and shares
// the rest with the first, including a message whose flags have changed.
func TestIncremental(t *testing.T) {
	root, dest := t.TempDir(), elsewhere(t)
	maildirAt(t, root)
	for i := range 200 {
		write(t, filepath.Join(root, "cur", fmt.Sprintf("%d.x:2,", i)), "message")
	}
	first := take(t, root, dest)
	if first.Copied != 200 || first.Messages != 200 {
		t.Errorf("first: %+v", first)
	}
	must(t, os.Rename(filepath.Join(root, "cur/7.x:2,"), filepath.Join(root, "cur/7.x:2,S")))
	must(t, os.Remove(filepath.Join(root, "cur/8.x:2,")))
	write(t, filepath.Join(root, "new/500.x"), "more")
	write(t, filepath.Join(root, "cur/9.x:2,"), "another")
	must(t, os.Chtimes(filepath.Join(root, "cur/9.x:2,"), time.Time{}, time.Unix(1, 0)))
	must(t, os.Chmod(filepath.Join(root, "cur/10.x:2,"), 0o640))
	second := take(t, root, dest)
	if second.Copied != 3 || second.Earlier != 197 || second.Messages != 200 {
		t.Errorf("second: %+v", second)
	}
	if text, err := os.ReadFile(filepath.Join(second.Path, "cur/9.x:2,")); err != nil || string(text) != "another" {
		t.Errorf("what has the same name and size is %q, %v", text, err)
	}
	if st, err := os.Stat(filepath.Join(second.Path, "cur/10.x:2,")); err != nil || st.Mode() != 0o640 {
		t.Errorf("a message that others may now read has mode %v, %v", st.Mode(), err)
	}
	a, err := os.Stat(filepath.Join(first.Path, "cur/7.x:2,"))
	must(t, err)
	b, err := os.Stat(filepath.Join(second.Path, "cur/7.x:2,S"))
	must(t, err)
	live, err := os.Stat(filepath.Join(root, "cur/7.x:2,S"))
	must(t, err)
	if !os.SameFile(a, b) || !live.ModTime().Equal(b.ModTime()) {
		t.Error("a message that only has other flags was copied again, or has another date")
	}
	if to, err := os.Readlink(filepath.Join(dest, "latest")); err != nil || to != filepath.Base(second.Path) {
		t.Errorf("latest leads to %q, %v", to, err)
	}
}

// elsewhere returns a directory on another file system than that of t.TempDir.
func elsewhere(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "backup")
	if err != nil {
		t.Fatalf("the test needs a second file system at /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	here := t.TempDir()
	if err := os.Link(here, filepath.Join(dir, "probe")); !errors.Is(err, syscall.EXDEV) {
		t.Fatalf("/dev/shm is the file system of %s: %v", here, err)
	}
	return dir
}

// TestWrittenWhileCopied: a program writes a message in place, and has not finished when it is
// copied, before its folder was locked or after that.
func TestWrittenWhileCopied(t *testing.T) {
	for _, late := range []bool{false, true} {
		root, dest := t.TempDir(), elsewhere(t)
		maildirAt(t, root)
		come := func() {
			for _, name := range []string{"1.x:2,", "2.x:2,"} {
				write(t, filepath.Join(root, "cur", name), "")
			}
		}
		if !late {
			come()
		}
		one, begun := "", false
		r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, path string) error {
			switch {
			case late && strings.HasSuffix(path, lockName):
				come()
				late = false
			case op != "open" || filepath.Dir(path) != filepath.Join(root, "cur"):
			case one == "":
				one = path
			case one != path && !begun: // one is open, and not copied yet
				begun = true
				write(t, one, "half")
			case one == path && begun:
				write(t, one, "the whole")
			}
			return nil
		}})
		must(t, err)
		if text, err := os.ReadFile(filepath.Join(r.Path, "cur", filepath.Base(one))); err != nil || string(text) != "the whole" {
			t.Errorf("the copy has %q, %v", text, err)
		}
	}
}

// TestWrittenAfterCopied: a program has written half of a message when it is copied, and writes
// the rest before the moment of the snapshot, or renames it then, too.
func TestWrittenAfterCopied(t *testing.T) {
	for _, name := range []string{"1.x:2,", "1.x:2,S"} {
		root, dest := t.TempDir(), elsewhere(t)
		maildirAt(t, root)
		live := filepath.Join(root, "cur/1.x:2,")
		write(t, live, "half")
		finished := false
		r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, path string) error {
			if strings.HasSuffix(path, lockName) && !finished {
				finished = true
				write(t, live, "the whole")
				return os.Rename(live, filepath.Join(root, "cur", name))
			}
			return nil
		}})
		must(t, err)
		text, err := os.ReadFile(filepath.Join(r.Path, "cur", name))
		if err != nil || string(text) != "the whole" || r.Messages != 1 {
			t.Errorf("the copy has %q, %v: %+v", text, err, r)
		}
	}
}

// TestManyArriveWhileCopied: more messages arrive, before a folder is locked, than are held open
// for copying at once.
func TestManyArriveWhileCopied(t *testing.T) {
	root, dest := t.TempDir(), elsewhere(t)
	maildirAt(t, root)
	write(t, filepath.Join(root, "cur/1.x:2,"), "message")
	const many = 3 * mostOpen
	came := false
	r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, path string) error {
		if strings.HasSuffix(path, lockName) && !came {
			came = true
			for i := range many {
				write(t, filepath.Join(root, "cur", fmt.Sprintf("%d.y:2,", i)), "message")
			}
		}
		return nil
	}})
	must(t, err)
	if got := len(messages(t, r.Path)); got != many+1 || r.Messages != got {
		t.Errorf("the copy has %d messages of %d: %+v", got, many+1, r)
	}
}

// TestManyBeside: more files are beside the messages than are held open for copying at once.
func TestManyBeside(t *testing.T) {
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	must(t, os.Mkdir(filepath.Join(root, "sieve"), 0o700))
	const many = 3 * mostOpen
	for i := range many {
		write(t, filepath.Join(root, fmt.Sprintf("script.%d", i)), "text")
		write(t, filepath.Join(root, "sieve", fmt.Sprintf("script.%d", i)), "text")
	}
	r := take(t, root, dest)
	got := 0
	for _, name := range listing(t, r.Path) {
		if strings.HasPrefix(filepath.Base(name), "script.") {
			got++
		}
	}
	if got != 2*many {
		t.Errorf("the copy has %d files of %d", got, 2*many)
	}
}

// TestRenamedWhileCopied: a large folder is renamed when it has been copied to another file
// system. It is copied again at once, not in as many passes as files can be held open.
func TestRenamedWhileCopied(t *testing.T) {
	root, dest := t.TempDir(), elsewhere(t)
	maildirAt(t, root, ".A")
	const many = 8 * mostOpen
	for i := range many {
		write(t, filepath.Join(root, ".A/cur", fmt.Sprintf("%d.x:2,", i)), "message")
	}
	renamed := false
	r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, path string) error {
		if strings.HasSuffix(path, ".A/"+lockName) && !renamed {
			renamed = true
			return os.Rename(filepath.Join(root, ".A"), filepath.Join(root, ".B"))
		}
		return nil
	}})
	must(t, err)
	if got := len(messages(t, filepath.Join(r.Path, ".B"))); got != many || r.Messages != got || r.Passes > 5 {
		t.Errorf("the copy has %d messages of %d: %+v", got, many, r)
	}
}

// TestVanished: a Maildir of which there is a snapshot, and which is missing or without any
// folder now, as if its file system were not mounted, is an error and not an empty snapshot.
func TestVanished(t *testing.T) {
	root, dest := filepath.Join(t.TempDir(), "mail"), filepath.Join(t.TempDir(), "snapshots")
	must(t, os.Mkdir(root, 0o700))
	again := func() error {
		_, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker("")})
		return err
	}
	must(t, again())
	must(t, again())
	maildirAt(t, root)
	must(t, again())
	before, err := os.Readlink(filepath.Join(dest, "latest"))
	must(t, err)
	must(t, os.RemoveAll(root))
	if err := again(); !errors.Is(err, errVanished) {
		t.Errorf("without the Maildir: %v", err)
	}
	must(t, os.Mkdir(root, 0o700))
	if err := again(); !errors.Is(err, errVanished) {
		t.Errorf("with an empty directory in its place: %v", err)
	}
	if now, err := os.Readlink(filepath.Join(dest, "latest")); err != nil || now != before {
		t.Errorf("latest led to %s, and leads to %s, %v", before, now, err)
	}
	maildirAt(t, root)
	must(t, again())
}

// TestListNotRaised: if the uidlist in the copy cannot be written, as on a full disk, there is no
// snapshot, which would give out UIDs again after a restore.
func TestListNotRaised(t *testing.T) {
	root := t.TempDir()
	maildirAt(t, root)
	write(t, filepath.Join(root, "cur/1.a:2,"), "x")
	s := begun(t, root)
	s.target.Before(func(op, path string) error {
		if op == "create" && strings.Contains(filepath.Base(path), uidlist.Name+".") {
			return syscall.ENOSPC
		}
		return nil
	})
	must(t, s.settle(t.Context()))
	if err := s.finish(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("finish: %v, %q", err, s.Notes)
	}
}

// TestManyNotes: of more notes than are listed, the last one says so.
func TestManyNotes(t *testing.T) {
	var s snapshot
	for i := range 300 {
		s.note(fmt.Sprint(i % 150))
	}
	if n := len(s.Notes); n != 101 || !strings.Contains(s.Notes[100], "more") {
		t.Errorf("%d notes: %q", n, s.Notes)
	}
}

// TestInterrupted: an error or interruption leaves no snapshot, and the next run cleans up.
func TestInterrupted(t *testing.T) {
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root, ".A")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Take(ctx, Options{Root: root, Dest: dest, Locker: dotlock.NewLocker("")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled run gave %v", err)
	}
	if got := listing(t, dest); len(got) != 1 || got[0] != runLock {
		t.Errorf("left behind: %q", got)
	}
	maildirAt(t, filepath.Join(dest, ".20200101T000000Z"+incomplete))
	r := take(t, root, dest)
	entries, err := os.ReadDir(dest)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{runLock, filepath.Base(r.Path), "latest"}; !slices.Equal(names, want) {
		t.Errorf("in the directory of snapshots: %q, want %q", names, want)
	}
}

func TestRefused(t *testing.T) {
	root := t.TempDir()
	maildirAt(t, root)
	if _, err := Take(t.Context(), Options{Root: root, Dest: filepath.Join(root, "snapshots"), Locker: dotlock.NewLocker("")}); !errors.Is(err, errInside) {
		t.Errorf("snapshots inside the Maildir: %v", err)
	}
	if _, err := Take(t.Context(), Options{Root: filepath.Join(root, "none"), Dest: t.TempDir(), Locker: dotlock.NewLocker("")}); !errors.Is(err, ErrNoMaildir) {
		t.Errorf("no Maildir: %v", err)
	}
}

// TestStuckLock: a lock that is not released does not prevent a snapshot; a note reports
// it.
func TestStuckLock(t *testing.T) {
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	write(t, filepath.Join(root, "new/1.a"), "x")
	write(t, filepath.Join(root, lockName), "1:another.host")
	r := take(t, root, dest)
	if r.Messages != 1 || !strings.Contains(strings.Join(r.Notes, "\n"), "copied without the lock") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(root, lockName)); err != nil {
		t.Errorf("the lock of another program is gone: %v", err)
	}
}

// TestNamesTellTheOrder: a snapshot has a later name than the previous one, even if others
// of the same second were removed since, and if the clock was set back.
func TestNamesTellTheOrder(t *testing.T) {
	const second = "20260102T030405Z"
	now, err := time.Parse(nameLayout, second)
	must(t, err)
	for _, c := range []struct{ there, earlier, want string }{
		{"", "", second}, {second, second, second + "-002"}, {second + "-003", second + "-003", second + "-004"},
		{"20260102T030404Z-002", "20260102T030404Z-002", second}, {"20270102T030459Z", "20270102T030459Z", "20270102T030500Z"}, // the clock was set back
		{"20260102T030406Z-002", "20260102T030406Z-002", "20260102T030407Z"},
	} {
		dir := t.TempDir()
		if c.there != "" {
			must(t, os.Mkdir(filepath.Join(dir, c.there), 0o700))
		}
		d, err := dirfd.Open(dir)
		must(t, err)
		if got, late := freeName(d, now, c.earlier); got != c.want || late != (c.earlier > second+"-999") {
			t.Errorf("after %q: %s, %t, want %s", c.earlier, got, late, c.want)
		}
		must(t, d.Close())
	}
}
