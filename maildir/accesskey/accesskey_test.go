package accesskey

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"maildird/maildir/dirfd"
)

func open(t *testing.T) (*dirfd.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, filepath.Join(path, Name)
}

// TestMake lets many create a key at once, some of them after removing it: in the end all
// read the same key, and nobody but the owner can.
func TestMake(t *testing.T) {
	d, file := open(t)
	if err := os.Chmod(filepath.Dir(file), 0o770); err != nil {
		t.Fatal(err)
	}
	if key, err := Read(d); key != nil || err != nil {
		t.Fatalf("%x, %v", key, err)
	}
	var all sync.WaitGroup
	keys := make([][]byte, 20)
	for i := range keys {
		all.Go(func() {
			key, err := Make(d, true)
			if err != nil || len(key) != keySize {
				t.Errorf("%x, %v", key, err)
			}
			keys[i] = key
		})
	}
	all.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Errorf("keys %x and %x", key, keys[0])
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := Remove(d, true); err != nil {
		t.Fatal(err)
	}
	if err := Remove(d, true); err != nil {
		t.Fatal(err)
	}
	if key, err := Make(d, false); err != nil || bytes.Equal(key, keys[0]) {
		t.Errorf("%x again, %v", key, err)
	}
	names, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// TestFailedSync: a key that may not be durable is not left for others to find.
func TestFailedSync(t *testing.T) {
	d, _ := open(t)
	broken := errors.New("the disk is broken")
	d.Before(func(op, _ string) error {
		if op == "sync" {
			return broken
		}
		return nil
	})
	if key, err := Make(d, true); key != nil || !errors.Is(err, broken) {
		t.Errorf("%x, %v", key, err)
	}
	if key, err := Read(d); key != nil || err != nil {
		t.Errorf("found %x, %v", key, err)
	}
	d.Before(nil)
	if key, err := Make(d, true); len(key) != keySize || err != nil {
		t.Errorf("%x, %v", key, err)
	}
}

// TestDamaged puts something else in the key's place.
func TestDamaged(t *testing.T) {
	d, file := open(t)
	key, err := Make(d, false)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func() error{
		"empty":    func() error { return os.WriteFile(file, nil, 0o600) },
		"cut off":  func() error { return os.WriteFile(file, whole[:40], 0o600) },
		"too long": func() error { return os.WriteFile(file, append(whole[:len(whole)-1:len(whole)-1], "00\n"...), 0o600) },
		"too big": func() error {
			return os.WriteFile(file, append(bytes.Repeat([]byte("\n"), 2*maxFile), whole...), 0o600)
		},
		"a link":    func() error { return os.Symlink(other, file) },
		"a folder":  func() error { return os.MkdirAll(filepath.Join(file, "cur"), 0o700) },
		"no secret": func() error { return os.WriteFile(file, []byte("XSAMPLE 00\n"), 0o600) },
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(d); len(got) > 0 {
			t.Errorf("%s was read as %x, %v", name, got, err)
		}
		got, err := Make(d, true)
		if err != nil || len(got) != keySize || bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
		if now, err := Read(d); err != nil || !bytes.Equal(now, got) {
			t.Errorf("%s: %x and then %x, %v", name, got, now, err)
		}
	}
	// Other lines are ignored.
	if err := os.WriteFile(file, append([]byte("# a comment\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(d); err != nil || !bytes.Equal(got, key) {
		t.Errorf("%x, %v", got, err)
	}
}
