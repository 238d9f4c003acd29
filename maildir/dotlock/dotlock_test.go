package dotlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
)

const name = "dovecot-uidlist.lock"

// try is Acquire without waiting: if the lock is held, or was left behind but not seen
// before, the error wraps ErrLocked.
func (l *Locker) try(dir *dirfd.Dir, name string, opt Options) (*Lock, error) {
	lock, err := l.create(dir, name)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return lock, err
	}
	gone, err := l.clearStale(dir, name, opt)
	if err != nil {
		return nil, err
	}
	if gone {
		if lock, err = l.create(dir, name); err == nil || !errors.Is(err, fs.ErrExist) {
			return lock, err
		}
	}
	return nil, l.held(dir, name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB) (*dirfd.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := dirfd.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d, path
}

// plant creates a lock file that was last changed age ago.
func plant(t testing.TB, path, content string, age time.Duration) string {
	t.Helper()
	file := filepath.Join(path, name)
	must(t, os.WriteFile(file, []byte(content), 0o600))
	when := time.Now().Add(-age)
	must(t, os.Chtimes(file, when, when))
	return file
}

// at returns a Locker whose clock is ahead, because the status-change time of a file cannot
// be set back.
func at(ahead time.Duration) *Locker {
	l := NewLocker("host.test")
	l.now = func() time.Time { return time.Now().Add(ahead) }
	return l
}

// early is at for what must not happen before a lock is 2 s old: it allows more time, in
// case the machine stalls for 2 s.
func early(ahead time.Duration) *Locker {
	l := at(ahead)
	l.rules.fresh = time.Hour
	return l
}

// soon is how long an expected event may take on a slow and busy machine.
const soon = time.Minute

// taken reports whether the lock can be acquired within limit.
func taken(t testing.TB, l *Locker, d *dirfd.Dir, limit time.Duration, opt Options) bool {
	t.Helper()
	opt.Timeout = limit
	lock, err := l.Acquire(context.Background(), d, name, opt)
	if err == nil {
		must(t, lock.Release())
		return true
	}
	if !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	return false
}

func TestAcquireRelease(t *testing.T) {
	d, path := openDir(t)
	must(t, os.Chmod(path, 0o750))
	l := NewLocker("host.test")
	lock, err := l.Acquire(context.Background(), d, name, Options{})
	must(t, err)
	content, err := os.ReadFile(filepath.Join(path, name))
	must(t, err)
	if want := fmt.Sprintf("%d:host.test", os.Getpid()); string(content) != want {
		t.Errorf("the lock holds %q, want %q", content, want)
	}
	st, err := d.Lstat(name)
	must(t, err)
	if st.Mode != 0o640 {
		t.Errorf("mode %o, want 640 as the folder has 750", st.Mode)
	}
	if _, err := l.try(d, name, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second Try: %v, want ErrLocked", err)
	}
	must(t, lock.Release())
	must(t, lock.Release())
	entries, err := os.ReadDir(path)
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	lock, err = l.try(d, name, Options{})
	must(t, err)
	must(t, lock.Release())
}

func TestTimeoutNamesHolder(t *testing.T) {
	d, path := openDir(t)
	for _, c := range []struct{ content, want string }{
		{fmt.Sprintf("%d:host.test", os.Getppid()), fmt.Sprintf("process %d of this host", os.Getppid())},
		{"77:elsewhere", `process 77 of host "elsewhere"`},
		{"", "an unknown program"},
		{"99999999999:host.test", "an unknown program"},
		{"-3:host.test", "an unknown program"},
		{"no colon", "an unknown program"},
		{strings.Repeat("x", 5000), "an unknown program"},
	} {
		plant(t, path, c.content, 0)
		start := time.Now()
		_, err := NewLocker("host.test").Acquire(context.Background(), d, name, Options{Timeout: 100 * time.Millisecond})
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("content %.20q: %v, want ErrLocked that names %s", c.content, err, c.want)
		}
		if waited := time.Since(start); waited < 100*time.Millisecond {
			t.Errorf("gave up after %s", waited)
		}
	}
}

func TestContext(t *testing.T) {
	d, path := openDir(t)
	plant(t, path, "77:elsewhere", 0)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := NewLocker("").Acquire(ctx, d, name, Options{Timeout: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// TestTryTwice: each look builds on what the previous one saw.
func TestTryTwice(t *testing.T) {
	d, path := openDir(t)
	plant(t, path, fmt.Sprintf("%d:host.test", deadPID(t)), 0)
	l := at(3 * time.Second)
	if _, err := l.try(d, name, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	time.Sleep(l.rules.look)
	lock, err := l.try(d, name, Options{})
	must(t, err)
	must(t, lock.Release())
}

// TestFailedRelease: a lock that could not be removed does not count as held as long as we
// live.
func TestFailedRelease(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may write anywhere: close the directory instead.
		t.Log("running as root")
	}
	d, _ := openDir(t)
	twin, err := d.Dup()
	must(t, err)
	l := at(3 * time.Second)
	lock, err := l.Acquire(context.Background(), twin, name, Options{})
	must(t, err)
	must(t, twin.Close())
	if err := lock.Release(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("Release in a closed directory: %v", err)
	}
	if !taken(t, l, d, soon, Options{}) {
		t.Error("our own leaked lock was not cleared")
	}
}

func TestStolen(t *testing.T) {
	d, path := openDir(t)
	file := filepath.Join(path, name)
	l := NewLocker("host.test")
	for _, again := range []bool{false, true} {
		lock, err := l.Acquire(context.Background(), d, name, Options{})
		must(t, err)
		must(t, os.Remove(file))
		if again {
			must(t, os.WriteFile(file, []byte("1:host.test"), 0o600))
		}
		l.now = func() time.Time { return time.Now().Add(time.Hour) }
		if err := lock.Touch(); !errors.Is(err, ErrStolen) {
			t.Errorf("Touch: %v, want ErrStolen", err)
		}
		if err := lock.Release(); !errors.Is(err, ErrStolen) {
			t.Errorf("Release: %v, want ErrStolen", err)
		}
		if _, err := os.Stat(file); again != (err == nil) {
			t.Errorf("another's lock after Release: %v", err)
		}
		l.now = time.Now
		_ = os.Remove(file)
	}
}

// TestStolenDuringRelease: a lock that somebody removes while it is being released counts
// as stolen.
func TestStolenDuringRelease(t *testing.T) {
	d, path := openDir(t)
	file := filepath.Join(path, name)
	l := NewLocker("host.test")
	for range 2000 {
		lock, err := l.Acquire(t.Context(), d, name, Options{})
		must(t, err)
		var other sync.WaitGroup
		other.Go(func() { _ = os.Remove(file) })
		err = lock.Release()
		other.Wait()
		if err != nil && !errors.Is(err, ErrStolen) {
			t.Fatalf("Release: %v", err)
		}
	}
}

func TestTouch(t *testing.T) {
	d, path := openDir(t)
	l := NewLocker("host.test")
	now := time.Now()
	l.now = func() time.Time { return now }
	lock, err := l.Acquire(context.Background(), d, name, Options{})
	must(t, err)
	mtime := func() time.Time {
		st, err := os.Stat(filepath.Join(path, name))
		must(t, err)
		return st.ModTime()
	}
	first := mtime()
	now = now.Add(500 * time.Millisecond)
	must(t, lock.Touch())
	if !mtime().Equal(first) {
		t.Error("stamped anew after half a second")
	}
	for _, d := range []time.Duration{10 * time.Second, -time.Hour} { // the clock may be set back
		now = now.Add(d)
		must(t, lock.Touch())
		if !mtime().Equal(now.Round(0)) {
			t.Errorf("the stamp is %s, want %s", mtime(), now)
		}
	}
	must(t, lock.Release())
}

// TestNotRegular: whatever the folder's owner puts in the lock's place is an error at once.
func TestNotRegular(t *testing.T) {
	for kind, plant := range map[string]func(string) error{
		"symlink":  func(p string) error { return os.Symlink("/etc/passwd", p) },
		"dangling": func(p string) error { return os.Symlink("nowhere", p) },
		"fifo":     func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"dir":      func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		d, path := openDir(t)
		must(t, plant(filepath.Join(path, name)))
		for range 2 {
			if _, err := at(time.Hour).Acquire(context.Background(), d, name, Options{}); !errors.Is(err, dirfd.ErrNotRegular) {
				t.Errorf("%s: %v, want ErrNotRegular", kind, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestUnreadable: a lock that cannot be read has an unknown holder.
func TestUnreadable(t *testing.T) {
	d, path := openDir(t)
	file := plant(t, path, fmt.Sprintf("%d:host.test", os.Getppid()), 0)
	must(t, os.Chmod(file, 0))
	if os.Geteuid() == 0 {
		plant(t, path, strings.Repeat("1", maxContent+1), 0) // root reads anything but this
	}
	l := at(130 * time.Second)
	if !taken(t, l, d, soon, Options{}) {
		t.Error("not taken over")
	}
}

func TestErrors(t *testing.T) {
	d, path := openDir(t)
	must(t, os.Remove(path))
	if _, err := NewLocker("").Acquire(context.Background(), d, name, Options{Timeout: time.Minute}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is gone: %v, want ErrNotExist", err)
	}
	if os.Geteuid() != 0 {
		d, path := openDir(t)
		must(t, os.Chmod(path, 0o500))
		if _, err := NewLocker("").Acquire(context.Background(), d, name, Options{Timeout: time.Minute}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("in a folder that cannot be written: %v, want ErrPermission", err)
		}
		must(t, os.Chmod(path, 0o700))
	}
}

const helperEnv = "DOTLOCK_TEST_DIR"

func BenchmarkAcquireRelease(b *testing.B) {
	d, _ := openDir(b)
	l := NewLocker("host.test")
	for b.Loop() {
		lock, err := l.Acquire(context.Background(), d, name, Options{})
		must(b, err)
		must(b, lock.Release())
	}
}
