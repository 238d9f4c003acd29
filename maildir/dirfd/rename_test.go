package dirfd

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRenameNoReplace renames files and directories, also as if the file system, like NFS,
// had no rename that does not replace.
func TestRenameNoReplace(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.MkdirAll(filepath.Join(path, "full/sub"), 0o700))
	for _, name := range []string{"empty", "dir", "to"} {
		must(t, os.Mkdir(filepath.Join(path, name), 0o700))
	}
	for _, name := range []string{"file", "other", "dir/content"} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte(name), 0o600))
	}
	to, err := d.OpenDir("to")
	must(t, err)
	defer to.Close()
	for _, c := range []struct {
		name    string
		to      *Dir
		newName string
		want    error
	}{
		{"file", d, "other", fs.ErrExist},
		{"file", d, "empty", fs.ErrExist},
		{"dir", d, "empty", fs.ErrExist},
		{"dir", d, "full", fs.ErrExist},
		{"dir", d, "other", fs.ErrExist},
		{"dir", d, "dir", fs.ErrExist},
		{"gone", to, "new", fs.ErrNotExist},
		{"to", to, "below", unix.EINVAL},
		{"file", to, "file", nil},
		{"dir", to, "dir", nil},
	} {
		if err := d.RenameNoReplace(c.name, c.to, c.newName); !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.name, c.newName, err, c.want)
		}
	}
	var found []string
	must(t, filepath.WalkDir(path, func(at string, _ fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(path, at)
		found = append(found, name)
		return errors.Join(err, rerr)
	}))
	if want := []string{".", "empty", "full", "full/sub", "other", "to", "to/dir", "to/dir/content", "to/file"}; !slices.Equal(found, want) {
		t.Errorf("there are %q, want %q", found, want)
	}
	if os.Getenv("RENAME_BY_LINK") != "" {
		return
	}
	cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL",
		os.Args[0], "-test.run=^TestRenameNoReplace$")
	cmd.Env = append(os.Environ(), "RENAME_BY_LINK=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("without renameat2: %v\n%s", err, out)
	}
}
