package dirfd

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadLeavesNoTrace: reading one's own file does not change its access time.
func TestReadLeavesNoTrace(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "file"), []byte("text"), 0o600))
	// Older than the modification: it would change with any mount option except noatime.
	long, when := time.Unix(1_600_000_000, 0), time.Unix(1_700_000_000, 0)
	must(t, os.Chtimes(filepath.Join(path, "file"), long, when))
	readBoth(t, d, "file", "text")
	st, err := d.Lstat("file")
	must(t, err)
	if !st.Atime.Equal(long) {
		t.Errorf("the access time is %s after reading, and was %s", st.Atime, long)
	}
}

// TestReadForeign: another user's file that this process may read is read, and so are those
// beside it.
func TestReadForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		d, err := Open("/etc")
		must(t, err)
		defer d.Close()
		f, err := d.Open("passwd")
		must(t, err)
		must(t, f.Close())
		return
	}
	d, path := openTemp(t)
	for name, owner := range map[string]int{"other": 0, "own": 65534} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte(name), 0o644))
		must(t, os.Chown(filepath.Join(path, name), owner, owner))
	}
	must(t, os.Chmod(path, 0o755))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(65534))
	defer func() { _ = unix.Setfsuid(0) }()
	for _, name := range []string{"own", "other", "own", "other"} {
		readBoth(t, d, name, name)
	}
}

// readBoth reads a file by Open and by OpenReader.
func readBoth(t *testing.T, d *Dir, name, want string) {
	t.Helper()
	f, err := d.Open(name)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	must(t, f.Close())
	var r Reader
	must(t, d.OpenReader(&r, name))
	again := make([]byte, len(want))
	_, err = r.ReadAt(again, 0)
	must(t, err)
	must(t, r.Close())
	if string(got) != want || string(again) != want {
		t.Errorf("%s: %q by Open, %q by OpenReader, want %q", name, got, again, want)
	}
}
