package backup

import (
	"os"
	"path/filepath"
	"testing"

	"maildird/maildir/dirfd"
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
