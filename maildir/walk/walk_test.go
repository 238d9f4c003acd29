package walk

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"maildird/maildir/dirfd"
)

// TestNotmuch: the directory of notmuch's database is no folder, unless it holds mail: in
// Maildir++ it is also that of the mailbox "notmuch", which clients are shown then.
func TestNotmuch(t *testing.T) {
	root := t.TempDir()
	mkdir := func(dirs ...string) {
		for _, dir := range dirs {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, err := dirfd.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want := func(paths ...string) {
		t.Helper()
		tree, err := Tree(d)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, dir := range tree {
			if dir.Folder {
				got = append(got, dir.Path)
			}
		}
		if len(tree) != len(paths) || !slices.Equal(got, paths) {
			t.Errorf("%+v, want %q", tree, paths)
		}
	}
	mkdir("cur", "new", "tmp", ".notmuch/xapian", ".notmuch/cur", ".notmuch/new", ".notmuch/tmp", "..DOVECOT-TRASHED/cur")
	want("")
	if err := os.WriteFile(filepath.Join(root, ".notmuch/new/1.a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want("", ".notmuch")
}
