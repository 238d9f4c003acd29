package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/scripts/rig/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func openTemp(t *testing.T) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestNotRegular: whatever a hostile owner puts in a message's place is refused at once; in
// particular, a FIFO does not make us wait for a writer.
func TestNotRegular(t *testing.T) {
	d, path := openTemp(t)
	for _, name := range hostileNames(t, path) {
		if f, err := d.Open(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("Open(%q) = %v, %v, want ErrNotRegular", name, f, err)
		}
		if _, err := d.OpenAppend(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("OpenAppend(%q): %v, want ErrNotRegular", name, err)
		}
		if _, err := d.ReadFile(name, 100); !errors.Is(err, ErrNotRegular) {
			t.Errorf("ReadFile(%q): %v, want ErrNotRegular", name, err)
		}
	}
	if _, err := d.Create("dangling", 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create through a dangling link: %v, want ErrExist", err)
	}
	must(t, os.Symlink("dir", filepath.Join(path, "dirlink")))
	if _, err := d.OpenDir("dirlink"); err == nil {
		t.Error("OpenDir followed a symbolic link")
	}
}

// hostileNames creates various things in a directory that are not regular files.
func hostileNames(t *testing.T, path string) []string {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(path, "file"), []byte("secret"), 0o600))
	must(t, os.Symlink("file", filepath.Join(path, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(path, "dangling")))
	must(t, os.Symlink("/dev/zero", filepath.Join(path, "zero")))
	must(t, os.Mkdir(filepath.Join(path, "dir"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	return []string{"link", "dangling", "zero", "dir", "fifo"}
}

func TestBadNames(t *testing.T) {
	d, _ := openTemp(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd", "a\x00b"} {
		if _, err := d.Open(name); !errors.Is(err, ErrBadName) {
			t.Errorf("Open(%q): %v, want ErrBadName", name, err)
		}
		if err := d.Mkdir(name); !errors.Is(err, ErrBadName) {
			t.Errorf("Mkdir(%q): %v, want ErrBadName", name, err)
		}
		if err := d.Rename("x", d, name); !errors.Is(err, ErrBadName) {
			t.Errorf("Rename to %q: %v, want ErrBadName", name, err)
		}
	}
}

func TestModesIgnoreUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	d, path := openTemp(t)
	f, err := d.Create("f", 0o664)
	must(t, err)
	must(t, f.Close())
	sub, err := d.MkdirAs("sub", Rights{Mode: 0o775, UID: -1, GID: -1})
	must(t, err)
	must(t, sub.Close())
	for name, want := range map[string]fs.FileMode{"f": 0o664, "sub": 0o775} {
		st, err := os.Stat(filepath.Join(path, name))
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), want)
		}
	}
}

func TestRenameAndLink(t *testing.T) {
	d, path := openTemp(t)
	must(t, d.Mkdir("sub"))
	sub, err := d.OpenDir("sub")
	must(t, err)
	defer sub.Close()
	must(t, os.WriteFile(filepath.Join(path, "a"), []byte("a"), 0o600))
	must(t, os.WriteFile(filepath.Join(path, "b"), []byte("b"), 0o600))
	if err := d.RenameNoReplace("a", d, "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("RenameNoReplace onto a file: %v, want ErrExist", err)
	}
	must(t, d.RenameNoReplace("a", sub, "c"))
	must(t, sub.Link("c", d, "a"))
	if err := sub.Link("c", d, "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Link onto a file: %v, want ErrExist", err)
	}
	must(t, d.Rename("a", d, "b"))
	got, err := d.ReadFile("b", 10)
	must(t, err)
	if string(got) != "a" {
		t.Errorf("b holds %q", got)
	}
	if err := d.Remove("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing: %v", err)
	}
}

// TestMovedDirectory: a handle stays with its directory when others rename it, and does not
// follow the name to what replaces it.
func TestMovedDirectory(t *testing.T) {
	d, path := openTemp(t)
	must(t, d.Mkdir("box"))
	box, err := d.OpenDir("box")
	must(t, err)
	defer box.Close()
	must(t, os.Rename(filepath.Join(path, "box"), filepath.Join(path, "moved")))
	must(t, os.Mkdir(filepath.Join(path, "box"), 0o700))
	f, err := box.Create("f", 0o600)
	must(t, err)
	must(t, f.Close())
	if _, err := os.Stat(filepath.Join(path, "moved", "f")); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	d, path := openTemp(t)
	want := []string{"dir", "link"}
	must(t, os.Mkdir(filepath.Join(path, "dir"), 0o700))
	must(t, os.Symlink("dir", filepath.Join(path, "link")))
	for i := range 5000 { // more than one buffer of getdents
		name := fmt.Sprintf("%04d.a-rather-long-name-as-messages-have-them,S=1234,W=1250:2,S", i)
		must(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
		want = append(want, name)
	}
	slices.Sort(want)
	for how, list := range map[string]func(met func(name []byte, kind Kind)) error{
		"List": func(met func([]byte, Kind)) error {
			return d.List(func(name []byte, kind Kind, ino uint64) bool {
				met(name, kind)
				if ino == 0 {
					t.Errorf("%s: inode 0", name)
				}
				return true
			})
		},
		"ListMany": func(met func([]byte, Kind)) error {
			return d.ListMany(func(some []Entry) {
				for _, e := range some {
					met(e.Name, e.Kind)
				}
			})
		},
	} {
		for range 2 { // a second listing begins at the beginning
			var got []string
			must(t, list(func(name []byte, kind Kind) {
				got = append(got, string(name))
				wantKind := KindRegular
				switch string(name) {
				case "dir":
					wantKind = KindDir
				case "link":
					wantKind = KindOther
				}
				if kind != wantKind && kind != KindUnknown {
					t.Errorf("%s: %s: kind %d", how, name, kind)
				}
			}))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s gives %d names, want %d", how, len(got), len(want))
			}
		}
	}
	n := 0
	must(t, d.List(func([]byte, Kind, uint64) bool { n++; return n < 3 }))
	if n != 3 {
		t.Errorf("List went on to %d names after it was stopped", n)
	}
	func() { // the goroutine that reads ahead ends when its caller panics: see TestMain
		defer func() { _ = recover() }()
		_ = d.ListMany(func([]Entry) { panic("in the middle") })
	}()
}

func TestReadFileLimit(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "huge"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(path, "huge"), 5<<30)) // 5 GB, sparse
	if _, err := d.ReadFile("huge", 1<<20); err == nil {
		t.Error("a sparse 5 GB file was read")
	}
}

func TestTimesAndStat(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "f"), []byte("abc"), 0o640))
	when := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	must(t, d.Chtimes("f", when))
	st, err := d.Lstat("f")
	must(t, err)
	if !st.Mtime.Equal(when) || st.Size != 3 || st.Mode != 0o640 || !st.Regular() || st.Nlink != 1 {
		t.Errorf("stat gives %+v", st)
	}
	for _, year := range []int{1, 1600, 2300, 9999} { // these cannot be represented as nanoseconds in 64 bits
		must(t, d.Chtimes("f", time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
		st, err := d.Lstat("f")
		must(t, err)
		if kept := st.Mtime.Year(); year > 2037 && kept < 2037 || year < 1970 && kept > 1970 {
			t.Errorf("of the year %d the file keeps %d", year, kept)
		}
	}
	if free, err := d.FreeBytes(); err != nil || free == 0 {
		t.Errorf("FreeBytes: %d, %v", free, err)
	}
	must(t, d.Sync())
}

func TestClosed(t *testing.T) {
	d, _ := openTemp(t)
	must(t, d.Close())
	if _, err := d.Open("x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
	if err := d.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestReadFileFails: a read error is not mistaken for the end of the file. Otherwise,
// whoever changes a file by rewriting all of it would lose the rest.
func TestReadFileFails(t *testing.T) {
	const dir, name = "/sys/class/net/lo", "speed" // EINVAL, as a loop has none
	if st, err := os.Stat(dir + "/" + name); err != nil || st.Size() == 0 {
		t.Skip("no file that can be opened and not read")
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := d.ReadFile(name, 1<<20); err == nil {
		t.Errorf("read %q", got)
	}
}

// TestBefore: the function given to Before is called before each operation, also below the
// directory, sees the files as they are then, and can make a call fail.
func TestBefore(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	must(t, err)
	defer d.Close()
	var got []string
	var fault error
	d.Before(func(op, p string) error {
		_, err := os.Lstat(p)
		got = append(got, fmt.Sprint(op, " ", strings.TrimPrefix(p, path), " ", err == nil))
		return fault
	})
	must(t, d.Mkdir("sub"))
	sub, err := d.OpenDir("sub")
	must(t, err)
	defer sub.Close()
	f, err := sub.Create("a", 0o600)
	must(t, err)
	must(t, f.Close())
	must(t, sub.Rename("a", d, "b"))
	must(t, d.List(func([]byte, Kind, uint64) bool { return true }))
	fault = syscall.EIO
	if err := d.Remove("b"); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), path+"/b") {
		t.Errorf("with a fault: %v", err)
	}
	want := []string{
		"create directory /sub false", "open directory /sub true", "create /sub/a false", "rename /sub/a true",
		"list  true", "list on  true", "list on  true", "remove /b true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked before %q, want %q", got, want)
	}
	if _, err := os.Lstat(path + "/b"); err != nil {
		t.Error("the call that failed was made")
	}
}
