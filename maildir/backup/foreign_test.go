package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
)

// TestForeign: a message that belongs to another user than the Maildir, such as one that
// root delivered, can be read after a backup as before it.
func TestForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	path := filepath.Join(root, "cur/1.a:2,S")
	write(t, path, "text")
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, 54321, 54321) }))
	must(t, os.Chown(path, 0, 0))
	r := take(t, root, dest)
	for _, at := range []string{root, r.Path} {
		cur, err := dirfd.Open(filepath.Join(at, "cur"))
		must(t, err)
		f, err := cur.Open("1.a:2,S")
		if err != nil {
			t.Errorf("after the backup: %v", err)
			continue
		}
		must(t, f.Close())
		must(t, cur.Close())
	}
}

// TestForeignBeside: files beside the messages that cannot be copied are left out, however
// many folders have one.
func TestForeignBeside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	root, dest := t.TempDir(), t.TempDir()
	var folders []string
	for i := range together + 1 {
		folders = append(folders, fmt.Sprintf(".F%d", i))
	}
	maildirAt(t, root, folders...)
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, 54321, 54321) }))
	for _, f := range folders {
		path := filepath.Join(root, f, "private")
		write(t, path, "text")
		must(t, os.Chown(path, 54322, 54322))
	}
	if r := take(t, root, dest); r.Passes > 5 || len(r.Notes) != len(folders) || !r.Unread {
		t.Errorf("%d passes, unread %t, notes %q", r.Passes, r.Unread, r.Notes)
	}
}

// TestForeignSwapped: a file of root that a user links into the place of a message just before
// that is linked gets into no snapshot, and so not with a restored one into the Maildir.
func TestForeignSwapped(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	path, secret := filepath.Join(root, "cur/1.a:2,S"), filepath.Join(filepath.Dir(root), "secret")
	write(t, path, "text")
	write(t, secret, "secret")
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, 54321, 54321) }))
	r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, name string) error {
		if op == "link" && name == path {
			must(t, os.Remove(path))
			must(t, os.Link(secret, path))
		}
		return nil
	}})
	must(t, err)
	if _, err := os.Lstat(filepath.Join(r.Path, "cur/1.a:2,S")); !os.IsNotExist(err) || len(r.Notes) == 0 {
		t.Errorf("%v, notes %q", err, r.Notes)
	}
}

// TestTmpMissing: a directory that a folder lacks, and its copy does not, belongs to the owner of
// the folder, who can deliver mail there after a restore.
func TestTmpMissing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	must(t, os.Remove(filepath.Join(root, "tmp")))
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, 54321, 54321) }))
	r := take(t, root, dest)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(r.Path, "tmp"), &st); err != nil || st.Uid != 54321 || st.Gid != 54321 {
		t.Errorf("tmp belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
}
