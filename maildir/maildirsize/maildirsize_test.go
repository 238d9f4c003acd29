package maildirsize

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAdd: without the file nothing is counted.
func TestAdd(t *testing.T) {
	root, path := openRoot(t)
	add := func() {
		t.Helper()
		if err := Add(root, 5, 1); err != nil {
			t.Fatal(err)
		}
	}
	add()
	if _, err := os.Lstat(path); !os.IsNotExist(err) || Kept(root) {
		t.Errorf("a file was made: %v", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if add(); Kept(root) {
		t.Error("a directory counts")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Write(root, Limit{Bytes: 100}, 10, 2); err != nil {
		t.Fatal(err)
	}
	add()
	if err := Add(root, -3, -1); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(root); err != nil || s.Bytes != 12 || s.Messages != 2 || s.Lines != 3 || !Kept(root) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestFolder: a message counts the size in its name, or else its length; in a folder with
// only one of its two directories, only what is in that one counts.
func TestFolder(t *testing.T) {
	root, path := openRoot(t)
	cur := filepath.Join(filepath.Dir(path), "cur")
	if err := os.Mkdir(cur, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.M1P1.host,S=100:2,S", "2.M1P1.host,S=0", "3.M1P1.host", ".hidden"} {
		if err := os.WriteFile(filepath.Join(cur, name), []byte("1234567"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if bytes, messages := Folder(root); bytes != 107 || messages != 3 {
		t.Errorf("%d bytes, %d messages", bytes, messages)
	}
	if n := Size(root, "9.M1P1.host"); n != 0 {
		t.Errorf("a file that is not there counts %d", n)
	}
}
