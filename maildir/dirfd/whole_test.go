package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestCreateWhole(t *testing.T) {
	d, path := openTemp(t)
	r := Rights{Mode: 0o750, UID: -1, GID: -1}
	f, err := d.CreateWhole("f", r, []byte("12:host"))
	must(t, err)
	defer f.Close()
	got, err := os.ReadFile(filepath.Join(path, "f"))
	must(t, err)
	st, err := d.Lstat("f")
	must(t, err)
	if string(got) != "12:host" || st.Mode != 0o640 {
		t.Errorf("content %q, mode %o", got, st.Mode)
	}
	must(t, os.Symlink("nowhere", filepath.Join(path, "link")))
	for _, name := range []string{"f", "link"} {
		if _, err := d.CreateWhole(name, r, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second %s: %v, want ErrExist", name, err)
		}
	}
	if _, err := d.CreateWhole("a/b", r, nil); !errors.Is(err, ErrBadName) {
		t.Errorf("a path: %v, want ErrBadName", err)
	}
}

// TestReplace: a name leads to the old content until all of the new is written, and forever if
// writing fails. What is in the way of the new file is removed.
func TestReplace(t *testing.T) {
	d, path := openTemp(t)
	broken := errors.New("broken")
	for _, c := range []struct {
		content string
		fails   error
		want    string
	}{{"first", nil, "first"}, {"second", broken, "first"}, {"third", nil, "third"}} {
		must(t, os.MkdirAll(filepath.Join(path, "temp", "sub"), 0o700))
		f, err := d.Replace("name", "temp", func(f *File) error {
			_, err := f.WriteString(c.content)
			return errors.Join(err, c.fails)
		})
		if !errors.Is(err, c.fails) || (f == nil) != (err != nil) {
			t.Errorf("%s: %v, %v", c.content, f, err)
		}
		if f != nil {
			must(t, f.Close())
		}
		if got, err := os.ReadFile(filepath.Join(path, "name")); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.content, got, err, c.want)
		}
		if _, err := d.Lstat("temp"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: temp: %v", c.content, err)
		}
	}
}

// TestCreateWholeNeverEmpty: of many callers that try, one gets the name, and whoever finds
// the file finds its content.
func TestCreateWholeNeverEmpty(t *testing.T) {
	d, path := openTemp(t)
	r := Rights{Mode: 0o700, UID: -1, GID: -1}
	probe, err := d.createNameless("probe", r, nil)
	must(t, err)
	if probe == nil {
		t.Fatalf("the file system of %s has no nameless files (O_TMPFILE): set TMPDIR to one that has", path)
	}
	must(t, probe.Close())
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := os.ReadFile(filepath.Join(path, "lock"))
			if err == nil && len(got) == 0 {
				t.Error("found it empty")
				return
			}
		}
	})
	for range 300 {
		var all sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 4 {
			all.Go(func() {
				f, err := d.CreateWhole("lock", r, fmt.Appendf(nil, "%d:host", i))
				switch {
				case err == nil:
					mu.Lock()
					won++
					mu.Unlock()
					_ = f.Close()
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("%d of 4 got the name", won)
		}
		must(t, d.Remove("lock"))
	}
	close(stop)
	watcher.Wait()
}

func BenchmarkCreateWhole(b *testing.B) {
	d, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	r := Rights{Mode: 0o700, UID: -1, GID: -1}
	for b.Loop() {
		f, err := d.CreateWhole("lock", r, []byte("12:host"))
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		if err := d.Remove("lock"); err != nil {
			b.Fatal(err)
		}
	}
}
