package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestSwapped: another program puts another directory in the place of cur, or moves it away and
// back. What happens in the old one afterwards is not taken for a change of the new one, and a
// message that moved from the one to the other before the moment of the snapshot is in it.
func TestSwapped(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *snapshot, path func(string) string)
	}{
		{"links of the old files, which are removed later", func(s *snapshot, path func(string) string) {
			must(t, os.Rename(path("cur"), path("aside")))
			must(t, os.Mkdir(path("cur"), 0o700))
			must(t, os.Link(path("aside/1.a:2,"), path("cur/1.a:2,")))
			pass(t, s)
			must(t, os.Remove(path("aside/1.a:2,")))
		}},
		{"while the lock is waited for", func(s *snapshot, path func(string) string) {
			write(t, path("cur/2.b:2,"), "x")
			s.root.Before(func(op, name string) error {
				if name == path(lockName) && missing(path("tmp/aside")) {
					must(t, os.Rename(path("cur"), path("tmp/aside")))
					must(t, os.Mkdir(path("cur"), 0o700))
					must(t, os.Rename(path("tmp/aside/1.a:2,"), path("cur/1.a:2,")))
				}
				return nil
			})
		}},
		{"and back", func(s *snapshot, path func(string) string) {
			must(t, os.Rename(path("cur"), path("tmp/aside")))
			pass(t, s)
			must(t, os.Rename(path("tmp/aside"), path("cur")))
		}},
		{"new and cur", func(s *snapshot, path func(string) string) {
			must(t, os.Rename(path("cur"), path("tmp/aside")))
			must(t, os.Rename(path("new"), path("cur")))
			must(t, os.Rename(path("tmp/aside"), path("new")))
			pass(t, s)
			must(t, os.Rename(path("new/1.a:2,"), path("cur/1.a:2,")))
			write(t, path("new/3.c"), "x")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			maildirAt(t, root, ".A")
			write(t, filepath.Join(root, "cur/1.a:2,"), "x")
			s := watched(t, root)
			c.do(s, func(name string) string { return filepath.Join(root, name) })
			must(t, s.settle(t.Context()))
			if got, want := fmt.Sprint(messages(t, s.target.Path())), fmt.Sprint(messages(t, root)); got != want {
				t.Errorf("the copy has %s, the Maildir %s", got, want)
			}
		})
	}
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// pass makes one more pass over all that has changed.
func pass(t *testing.T, s *snapshot) {
	t.Helper()
	s.Passes++
	changed, err := s.changed()
	must(t, err)
	_, err = s.pass(t.Context(), changed)
	must(t, err)
}

// TestWatchedTwice: the kernel tells what changes in a directory only once, even if it has two
// names, as one that is mounted in a second place has. Under the first, its time is looked at.
func TestWatchedTwice(t *testing.T) {
	root := t.TempDir()
	maildirAt(t, root)
	s := begun(t, root)
	d, err := s.root.OpenDir("cur")
	must(t, err)
	defer d.Close()
	var first, second state
	for _, st := range []*state{&first, &second} {
		if st.watched = s.events.watch(d, st); !st.watched {
			t.Fatal("the kernel gives no events here")
		}
	}
	if first.watched {
		t.Error("the first counts as watched")
	}
}

// TestReplaced: a program that changes a message puts another file in its place after it was copied.
// The snapshot has the later text.
func TestReplaced(t *testing.T) {
	root := t.TempDir()
	maildirAt(t, root)
	path := filepath.Join(root, "cur/1.a:2,")
	write(t, path, "x")
	s := watched(t, root)
	write(t, filepath.Join(root, "tmp/1.a"), "changed")
	must(t, os.Rename(filepath.Join(root, "tmp/1.a"), path))
	must(t, s.settle(t.Context()))
	if text, err := os.ReadFile(filepath.Join(s.target.Path(), "cur/1.a:2,")); err != nil || string(text) != "changed" {
		t.Errorf("the copy has %q, %v", text, err)
	}
}
