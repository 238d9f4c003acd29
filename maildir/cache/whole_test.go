package cache

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWhole(t *testing.T) {
	s := New(Options{Dir: t.TempDir()})
	defer s.Close()
	mtime := time.Now().Add(-time.Minute) // much older, and a new Store may take the file for left behind
	read := func() string {
		t.Helper()
		f, err := s.OpenWhole("name")
		if missing(err) {
			return "missing"
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write := func(text string, fail error) error {
		return s.ReplaceWhole("name", mtime, func(f *os.File) error {
			_, err := f.WriteString(text)
			return errors.Join(err, fail)
		})
	}
	if got := read(); got != "missing" {
		t.Errorf("an empty cache has %q", got)
	}
	if err := write("one", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("two", nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := write("three", broken); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of who writes", err)
	}
	if got := read(); got != "two" {
		t.Errorf("the file has %q, want what was written as a whole last", got)
	}
	names, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 1 {
		t.Errorf("%d files are left, want one", len(names))
	}
	st, err := os.Stat(filepath.Join(s.dir, names[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	if !st.ModTime().Equal(mtime) || st.Mode().Perm() != 0o600 {
		t.Errorf("time %v, mode %v", st.ModTime(), st.Mode())
	}
	s.RemoveWhole("name")
	if got := read(); got != "missing" {
		t.Errorf("a file that was removed has %q", got)
	}
}

// TestWholeNotRemoved: a file that cannot be removed, as on a file system that has become
// read-only, is not opened again until it is replaced. Otherwise a mailbox whose snapshot
// cannot be read to its end would end the sessions of its user again and again.
func TestWholeNotRemoved(t *testing.T) {
	s := New(Options{Dir: t.TempDir()})
	defer s.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	replace := func() {
		must(s.ReplaceWhole("name", time.Now(), func(f *os.File) error {
			_, err := f.WriteString("text")
			return err
		}))
	}
	replace()
	must(os.Rename(s.dir, s.dir+".away"))
	must(os.WriteFile(s.dir, nil, 0o600))
	s.RemoveWhole("name")
	must(os.Remove(s.dir))
	must(os.Rename(s.dir+".away", s.dir))
	if f, err := s.OpenWhole("name"); err == nil {
		_ = f.Close()
		t.Error("it is opened")
	}
	replace()
	f, err := s.OpenWhole("name")
	must(err)
	must(f.Close())
}
