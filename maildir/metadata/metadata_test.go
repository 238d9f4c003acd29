package metadata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
)

func folder(t testing.TB) (*dirfd.Dir, string) {
	path := t.TempDir()
	d, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, filepath.Join(path, Name)
}

func TestFile(t *testing.T) {
	d, path := folder(t)
	if err := os.WriteFile(path, []byte("# ours\n/private/a 50%25%0D%0A%FF\n/nonsense\n/b x\n/PRIVATE/C \n/d %G0\n/e %4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Read(d, Name)
	if err != nil || !slices.Equal(s.Names(), []string{"/b", "/private/a", "/private/c"}) {
		t.Fatalf("%q, %v", s.Names(), err)
	}
	if v, ok := s.Get("/Private/A"); !ok || v != "50%\r\n\xff" {
		t.Errorf("%q", v)
	}
	if err := s.Apply([]Change{{Name: "/b", Remove: true}, {Name: "/Private/N", Value: "ünï\x00"}}); err != nil {
		t.Fatal(err)
	}
	if err := Write(d, Name, s, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if want := "# ours\n/private/a 50%25%0D%0A%FF\n/private/c \n/private/n %C3%BCn%C3%AF%00\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
	// Without entries there is no file.
	if err := Write(d, Name, &Set{}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error(err)
	}
	// Nobody can make us read a file that is not the user's.
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(d, Name); err != nil || len(s.Names()) > 0 {
		t.Error(s, err)
	}
}

// TestCRLF: an editor left CR LF at the ends of the lines.
func TestCRLF(t *testing.T) {
	s := parse("# ours\r\n/private/a x%0D\r\n/private/b y\r")
	if a, _ := s.Get("/private/a"); a != "x\r" {
		t.Errorf("%q", a)
	}
	if b, _ := s.Get("/private/b"); b != "y" {
		t.Errorf("%q", b)
	}
	if got, want := s.format(), "# ours\n/private/a x%0D\n/private/b y\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLimits(t *testing.T) {
	s := &Set{}
	var changes []Change
	for i := range MaxEntries {
		changes = append(changes, Change{Name: fmt.Sprint("/private/", i), Value: "x"})
	}
	if err := s.Apply(append(changes, Change{Name: "/private/more"})); !errors.Is(err, ErrTooMany) || len(s.Names()) > 0 {
		t.Error(err, len(s.Names()))
	}
	if err := s.Apply(changes); err != nil {
		t.Error(err)
	}
	if err := s.Apply([]Change{{Name: "/private/more"}, {Name: "/private/0", Remove: true}}); err != nil {
		t.Error(err)
	}
	if err := s.Apply([]Change{{Name: "/private/1", Value: "y"}, {Name: "/private/2", Value: strings.Repeat("x", MaxValue+1)}}); !errors.Is(err, ErrTooBig) {
		t.Error(err)
	}
	if v, _ := s.Get("/private/1"); v != "x" {
		t.Error("changed in part")
	}
}

// FuzzParse: whatever a file contains, what was read of it is read back as it was written.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "# x\n/private/a b%25\n", "/a %", "/a/ x\n/b  \n", "/\xff x\n\x00\n/a \xff\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parse(text)
		again := parse(s.format())
		if !slices.Equal(s.Names(), again.Names()) || again.format() != s.format() {
			t.Fatalf("%q, then %q", s.format(), again.format())
		}
		for _, name := range s.Names() {
			v, _ := s.Get(name)
			if w, _ := again.Get(name); v != w || !ValidName(name) {
				t.Errorf("%s is %q, then %q", name, v, w)
			}
		}
	})
}
