package backup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInside(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "mail", "alice", "cur"), 0o700))
	must(t, os.Symlink("mail", filepath.Join(dir, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))
	t.Chdir(dir)
	for _, c := range []struct {
		dest, root string
		want       bool
	}{
		{"mail/alice", "mail/alice", true},
		{"mail/alice/", dir + "/mail/alice", true},
		{"mail/alice/new/one", "mail/alice", true},
		{"link/alice/cur/x", "mail/alice", true},
		{"mail/alice/cur", "link/alice", true},
		{"mail/bob/x", "link/bob", true}, // bob has no mail yet
		{"mail", "mail/alice", false},
		{"mail/alice2", "mail/alice", false},
		{"mail/alice/../bob", "mail/alice", false},
		{"broken", "mail/alice", false},
		{"snapshots", "mail/alice", false},
	} {
		if got, err := Inside(c.dest, c.root); got != c.want || err != nil {
			t.Errorf("%s in %s: %v, %v", c.dest, c.root, got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}
