package dirfd

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestForeignLink: a file with two names is read, and given rights and an owner, if it is
// the directory owner's, and not if it is another's.
func TestForeignLink(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "own"), []byte("x"), 0o600))
	must(t, os.Link(filepath.Join(path, "own"), filepath.Join(path, "second")))
	_, err := d.ReadFile("second", 10)
	must(t, err)
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of others")
	}
	must(t, os.WriteFile(filepath.Join(path, "other"), []byte("x"), 0o600))
	must(t, os.Chown(filepath.Join(path, "other"), 54321, 54321))
	_, err = d.ReadFile("other", 10) // such as a delivery by root leaves
	must(t, err)
	must(t, os.Link(filepath.Join(path, "other"), filepath.Join(path, "link")))
	for _, name := range []string{"other", "link"} {
		if _, err := d.ReadFile(name, 10); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.OpenReader(new(Reader), name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s by OpenReader: %v", name, err)
		}
		if _, err := d.OpenAppend(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s to append: %v", name, err)
		}
		if err := d.Chown(name, 54322, -1); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s gets another owner: %v", name, err)
		}
		if err := d.Chmod(name, 0o640); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s gets other rights: %v", name, err)
		}
	}
}
