package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestRightsOfNewEntries(t *testing.T) {
	for _, c := range []struct{ parent, file, dir fs.FileMode }{
		{0o700, 0o600, 0o700},
		{0o755, 0o644, 0o755},
		{0o770, 0o660, 0o770},
		{0o777, 0o666, 0o777},
		{0o500, 0o600, 0o700},
		{0o770 | fs.ModeSetgid, 0o660, 0o770 | fs.ModeSetgid},
	} {
		t.Run(c.parent.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			d, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := os.Chmod(path, c.parent); err != nil {
				t.Fatal(err)
			}
			r, err := d.Rights()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.parent|0o700); err != nil {
				t.Fatal(err)
			}
			createBoth(t, d, r)
			for name, want := range map[string]fs.FileMode{"f": c.file, "s": c.dir} {
				st, err := d.Lstat(name)
				if err != nil {
					t.Fatal(err)
				}
				if got := st.Mode & (fs.ModePerm | fs.ModeSetgid); got != want {
					t.Errorf("%s has mode %v, want %v", name, got, want)
				}
			}
		})
	}
}

// createBoth creates a file f and a directory s with these rights.
func createBoth(t *testing.T, d *Dir, r Rights) {
	t.Helper()
	f, err := d.CreateAs("f", r)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	sub, err := d.MkdirAs("s", r)
	if err != nil {
		t.Fatal(err)
	}
	sub.Close()
}

// Root gives what it creates to the directory's owner, and the group is inherited if the
// permission bits make it matter.
func TestRightsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := t.TempDir()
	if err := os.Chown(path, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r, err := d.Rights()
	if err != nil {
		t.Fatal(err)
	}
	createBoth(t, d, r)
	for _, name := range []string{"f", "s"} {
		st, err := d.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.UID != 1234 || st.GID != 2345 {
			t.Errorf("%s belongs to %d:%d", name, st.UID, st.GID)
		}
	}
}

func TestMkdirAsExisting(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Symlink("/", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	if sub, err := d.MkdirAs("link", Rights{Mode: 0o777, UID: -1, GID: -1}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("MkdirAs over a symbolic link gave %v, %v", sub, err)
	}
}

// TestMkdirAsSwapped: a directory that gets the name of the new one before that is opened does
// not get its rights.
func TestMkdirAsSwapped(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	must(t, err)
	defer d.Close()
	must(t, os.Mkdir(filepath.Join(path, "root's"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "root's", "secret"), nil, 0o644))
	d.Before(func(op, name string) error {
		if op == "open directory" {
			must(t, os.Rename(name, name+".aside"))
			must(t, os.Rename(filepath.Join(path, "root's"), name))
		}
		return nil
	})
	if sub, err := d.MkdirAs("new", Rights{Mode: 0o777, UID: -1, GID: -1}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("MkdirAs gave %v, %v", sub, err)
	}
	if st, err := os.Stat(filepath.Join(path, "new")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestDup(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	twin, err := d.Dup()
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := twin.Mkdir("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dup(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("Dup of a closed directory: %v", err)
	}
	twin.Close()
}

func TestRemoveAll(t *testing.T) {
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(path, "t", "cur"), 0o700))
	for i := range 5000 {
		must(os.WriteFile(filepath.Join(path, "t", "cur", strconv.Itoa(i)), nil, 0o600))
	}
	must(os.Symlink(outside, filepath.Join(path, "t", "link")))
	must(syscall.Mkfifo(filepath.Join(path, "t", "fifo"), 0o600))
	must(os.Mkdir(filepath.Join(path, "t", "shut"), 0o700))
	must(os.WriteFile(filepath.Join(path, "t", "shut", "f"), nil, 0o600))
	must(os.Chmod(filepath.Join(path, "t", "shut"), 0))
	must(os.WriteFile(filepath.Join(path, "t", "deep.1"), nil, 0o600))
	deep := filepath.Join(path, "t")
	for range 3 {
		must(os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", 100)), 0o700))
		deep = filepath.Join(deep, strings.Repeat("d/", 100))
	}
	d, err := Open(path)
	must(err)
	defer d.Close()
	must(d.RemoveAll("t"))
	if _, err := d.Lstat("t"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("still there: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Fatalf("a file outside was touched: %v", err)
	}
	must(d.RemoveAll("t"))
	must(os.Symlink(outside, filepath.Join(path, "l")))
	must(d.RemoveAll("l"))
	if _, err := os.Stat(kept); err != nil {
		t.Fatalf("a file outside was touched: %v", err)
	}
}

// Two programs that remove the same tree do not stop each other.
func TestRemoveAllTwice(t *testing.T) {
	path := t.TempDir()
	for i := range 50 {
		sub := filepath.Join(path, "t", fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		for j := range 20 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := make(chan error)
	for range 2 {
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		go func() { done <- d.RemoveAll("t") }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(path, "t")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("still there: %v", err)
	}
}
