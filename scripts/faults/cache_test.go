package faults

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCacheTaken does what operators do to the cache directory of a running server. Nothing depends
// on it: mail is read as before, by sessions that are open, by new ones, and after a restart.
func TestCacheTaken(t *testing.T) {
	needed(t)
	m := newMaildird(t, 20)
	cache := filepath.Join(m.Dir, "cache")
	must(t, unix.Mount("", cache, "", unix.MS_REMOUNT, "size=64m,mode=0700"))
	messages := filepath.Join(cache, "messages")
	for n, c := range []struct {
		name       string
		begin, end func() error
	}{
		{"emptied", func() error { return os.RemoveAll(messages) }, nil},
		{"a file in its place", func() error {
			must(t, os.RemoveAll(messages))
			return os.WriteFile(messages, []byte("text"), 0o644)
		}, func() error { return os.Remove(messages) }},
		{"a link in its place", func() error {
			must(t, os.RemoveAll(messages))
			return os.Symlink("/nonexistent", messages)
		}, func() error { return os.Remove(messages) }},
		{"no permission", func() error { return os.Chmod(messages, 0) }, func() error { return os.Chmod(messages, 0o700) }},
		{"of another owner", func() error { return os.Chown(cache, 0, 0) }, func() error { return os.Chown(cache, 65534, 65534) }},
		{"truncated files", func() error {
			files, err := filepath.Glob(messages + "/*")
			for _, f := range files {
				must(t, os.Truncate(f, 10))
			}
			return err
		}, nil},
		{"unmounted", func() error { return unix.Unmount(cache, unix.MNT_DETACH) }, nil},
		{"removed", func() error { return os.RemoveAll(cache) }, nil},
	} {
		first, err := newCell(m, userName(n))
		must(t, err)
		t.Cleanup(func() { first.close(); _ = first.unmount() })
		must(t, first.readAll(first.client))
		must(t, c.begin())
		for _, how := range []string{"open", "new", "again"} {
			if how == "open" {
				err = first.readAll(first.client)
			} else {
				err = first.readIn(m)
			}
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, how, err)
			}
		}
		other, err := newCell(m, userName(n+10)) // is read for the first time
		must(t, err)
		t.Cleanup(func() { other.close(); _ = other.unmount() })
		if err := other.readAll(other.client); err != nil {
			t.Errorf("%s: first time: %v", c.name, err)
		}
		if c.end != nil {
			must(t, c.end())
		}
		for _, read := range []*cell{first, other} {
			if err := read.readIn(m); err != nil {
				t.Errorf("%s, afterwards: %v", c.name, err)
			}
		}
	}
	must(t, m.Stop(patience))
	must(t, m.Start(context.Background()))
}
