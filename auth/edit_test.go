package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestLinesOfOneName: the first line counts, or none. A removed user does not remain because of a
// second line, and a user whose line cannot be used can be changed.
func TestLinesOfOneName(t *testing.T) {
	u, path, _ := open(t, "# alice:{PLAIN}comment\nalice:{PLAIN}x::::::proxy=y\nbob:{PLAIN}b\nALICE@example.org:{PLAIN}old:5::::\nalice@example.net:{PLAIN}other\ncarol\n#end\n")
	if _, ok := u.Lookup("alice@example.org"); ok || !u.LeftOut("alice@example.org") {
		t.Error("alice has the old password and home of her second line")
	}
	unusable, _, err := u.Problems()
	if want := path + ":4: alice@example.org is already on line 2, which takes precedence"; err != nil || !slices.Contains(unusable, want) {
		t.Errorf("problems %q, %v, want %q", unusable, err, want)
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := Add(path, domains, "carol", "x"); !errors.Is(err, ErrExists) {
		t.Errorf("carol added: %v", err)
	}
	if err := SetPassword(path, domains, "carol", "new"); err != nil {
		t.Error(err)
	}
	if err := SetPassword(path, domains, "alice", "new"); err != nil {
		t.Error(err)
	}
	if got := read(); !strings.Contains(got, "\nalice:{ARGON2ID}$argon2id$") || !strings.Contains(got, "::::::proxy=y\nbob:{PLAIN}b\nALICE@example.org:{PLAIN}old:5::::\n") ||
		!strings.Contains(got, "\ncarol:{ARGON2ID}$argon2id$") {
		t.Errorf("the file is\n%s", got)
	}
	if err := Remove(path, domains, "carol"); err != nil {
		t.Error(err)
	}
	if err := Remove(path, domains, "alice@example.org"); err != nil {
		t.Error(err)
	}
	if got, want := read(), "# alice:{PLAIN}comment\nbob:{PLAIN}b\nalice@example.net:{PLAIN}other\n#end\n"; got != want {
		t.Errorf("the file is\n%swant\n%s", got, want)
	}
	if err := Remove(path, domains, "alice@example.org"); !errors.Is(err, ErrNotFound) {
		t.Errorf("alice removed again: %v", err)
	}
}

// TestEditLeavesNothing: an edit leaves no file behind, not even a lock file, which could
// belong to root and prevent the next edit by the owner of the users file. Concurrent edits
// wait for each other.
func TestEditLeavesNothing(t *testing.T) {
	_, path, _ := open(t, "")
	var adding sync.WaitGroup
	for i := range 8 {
		adding.Go(func() {
			if err := Add(path, domains, fmt.Sprintf("user%d", i), "secret"); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 8 {
		t.Errorf("of 8 users there are\n%s%v", text, err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("beside the users file there are %v, %v", files, err)
	}
}

// TestByteOrderMark: an editor may have put one before the name of the first user.
func TestByteOrderMark(t *testing.T) {
	u, path, _ := open(t, "\xef\xbb\xbfalice:{PLAIN}a\r\nbob:{PLAIN}b\r\n")
	if _, ok := u.Lookup("alice@example.org"); !ok {
		t.Error("there is no alice")
	}
	if err := Remove(path, domains, "alice"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "bob:{PLAIN}b\r\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// TestNoRegularFile: a file without an end is not read.
func TestNoRegularFile(t *testing.T) {
	u, path, log := open(t, "alice:{PLAIN}a\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "users")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link, filepath.Dir(path)} {
		if _, err := OpenUsers(p, domains, u.log); err == nil || !strings.Contains(err.Error(), "it is not a regular file") {
			t.Errorf("%s is read: %v", p, err)
		}
	}
	if err := Add(path, domains, "bob", "x"); err == nil {
		t.Error("a FIFO is changed")
	}
	if err := u.Reload(); err == nil {
		t.Error("a FIFO is read again")
	}
	if _, ok := u.Lookup("alice"); !ok {
		t.Error("alice is gone with the file", log)
	}
}
