package maildir

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir/folder"
)

// TestDeleteUncounted: that a mailbox is deleted is not undone, and is no error, where
// only the count of it cannot be written. The log says so.
func TestDeleteUncounted(t *testing.T) {
	var log bytes.Buffer
	s := NewStore(Options{Host: "test", Log: slog.New(slog.NewTextHandler(&log, nil))})
	t.Cleanup(func() { _ = s.Close() })
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	defer a.Release()
	if err := a.Create(t.Context(), "Work", nil); err != nil {
		t.Fatal(err)
	}
	drop(t, filepath.Join(root, ".Work"), "1.M1P1.test")
	fullFile(t, filepath.Join(root, "maildirsize"))
	if err := a.Delete(t.Context(), "Work"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := a.Tree().OpenDir("Work"); !errors.Is(err, folder.ErrNotFound) {
		t.Errorf("the mailbox is there: %v", err)
	}
	if got := log.String(); strings.Count(got, "cannot count mail in maildirsize") != 1 {
		t.Errorf("the log says:\n%s", got)
	}
}

// fullFile makes a file without content, but so long that nothing can be appended to
// it, as to one on a disk that fails.
func fullFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tooLong := sort.Search(1<<63-1, func(size int) bool { return f.Truncate(int64(size)) != nil })
	if err := f.Truncate(int64(tooLong) - 1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("xx")); !errors.Is(err, unix.EFBIG) {
		t.Fatalf("a file of %d bytes is not full: %v", tooLong-1, err)
	}
}
