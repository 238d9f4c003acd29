package quarantine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
)

// TestLongNames: files with the longest names, from a folder whose path is longer than any
// name, can be moved, also several with the same name.
func TestLongNames(t *testing.T) {
	path := t.TempDir()
	root, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	folder, name := strings.Repeat("level/", 60)+"last", strings.Repeat("n", 255)
	for _, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		to, err := Move(root, folder, root, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(path, to)); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if files, err := os.ReadDir(filepath.Join(path, Place(folder))); err != nil || len(files) != 3 || !strings.HasSuffix(Place(folder), ".level.last") {
		t.Errorf("%v in %s, %v", files, Place(folder), err)
	}
}

// TestOnlyDots: a file can be moved from a folder whose name has only dots.
func TestOnlyDots(t *testing.T) {
	path := t.TempDir()
	root, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, folder := range []string{"...", "....", "..../..."} {
		if err := os.WriteFile(filepath.Join(path, "name"), []byte(folder), 0o600); err != nil {
			t.Fatal(err)
		}
		to, err := Move(root, folder, root, "name")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(path, to)); err != nil || string(got) != folder {
			t.Errorf("%q in %s, %v, want %q", got, to, err, folder)
		}
	}
}
