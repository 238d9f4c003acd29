package maildir

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/folder"
)

// TestDeleteUncounted: if only the count for the deletion of a mailbox cannot be written,
// the deletion is not undone and is not an error. The log reports it.
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

// fullFile creates a file without data that is so long that nothing can be appended to it,
// like one on a disk that fails.
func fullFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	longest, tooLong := int64(0), int64(math.MaxInt64)
	for longest+1 < tooLong {
		if size := longest + (tooLong-longest)/2; f.Truncate(size) == nil {
			longest = size
		} else {
			tooLong = size
		}
	}
	if err := f.Truncate(longest); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("xx")); err == nil {
		t.Fatalf("a file of %d bytes is not full", longest)
	}
}
