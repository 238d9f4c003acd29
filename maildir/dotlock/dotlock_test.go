package dotlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// deadPID returns the number of a process that has ended.
func deadPID(t testing.TB) int {
	t.Helper()
	cmd := exec.Command("true")
	must(t, cmd.Run())
	return cmd.Process.Pid
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

// TestDeadHolder: the lock of a process that is gone is taken over as soon as it is two
// seconds old, and not before.
func TestDeadHolder(t *testing.T) {
	if defaultRules.fresh != 2*time.Second {
		t.Errorf("a lock is fresh for %s", defaultRules.fresh)
	}
	d, path := openDir(t)
	plant(t, path, fmt.Sprintf("%d:host.test", deadPID(t)), 0)
	if taken(t, early(0), d, 200*time.Millisecond, Options{}) {
		t.Error("a fresh lock was taken over")
	}
	if _, err := at(3*time.Second).try(d, name, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("taken over at first sight: %v", err)
	}
	if !taken(t, at(3*time.Second), d, soon, Options{}) {
		t.Error("a lock of a dead process, 3 s old, was not taken over")
	}
	// After the clock was set back, the age means nothing: what counts is that the lock
	// does not change.
	plant(t, path, fmt.Sprintf("%d:host.test\n", deadPID(t)), 0)
	l := early(-time.Hour)
	if taken(t, l, d, 200*time.Millisecond, Options{}) {
		t.Error("taken over after 200 ms")
	}
	l.rules = defaultRules
	if !taken(t, l, d, soon, Options{}) {
		t.Error("not taken over")
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

// TestChangingLock: the second look counts from the last change.
func TestChangingLock(t *testing.T) {
	d, path := openDir(t)
	file := plant(t, path, fmt.Sprintf("%d:host.test", deadPID(t)), 0)
	l := at(3 * time.Second)
	for i := range 6 {
		when := time.Now().Add(-time.Duration(i) * time.Second)
		must(t, os.Chtimes(file, when, when))
		if _, err := l.try(d, name, Options{}); !errors.Is(err, ErrLocked) {
			t.Fatalf("a lock that changes was taken over: %v", err)
		}
		time.Sleep(l.rules.look)
	}
	lock, err := l.try(d, name, Options{})
	must(t, err)
	must(t, lock.Release())
}

func TestLiveHolder(t *testing.T) {
	d, path := openDir(t)
	holder := exec.Command("sleep", "60")
	must(t, holder.Start())
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	plant(t, path, fmt.Sprintf("%d:host.test", holder.Process.Pid), 0)
	// An hour later it is still held.
	l := at(time.Hour)
	l.rules.fresh = time.Millisecond
	if taken(t, l, d, 300*time.Millisecond, Options{Stale: time.Millisecond}) {
		t.Error("the lock of a live process was taken over")
	}
	must(t, holder.Process.Kill())
	_ = holder.Wait()
	if !taken(t, l, d, soon, Options{}) {
		t.Error("not taken over after its holder died")
	}
}

// TestRecycledPID: a process that started after the lock's last change cannot be its
// holder.
func TestRecycledPID(t *testing.T) {
	d, path := openDir(t)
	plant(t, path, fmt.Sprintf("%d:host.test", os.Getppid()), 0)
	l := early(0)
	began := time.Now().Add(10 * time.Second)
	l.find = func(int) process { return process{exists: true, started: began} }
	if taken(t, l, d, 500*time.Millisecond, Options{}) {
		t.Error("taken over within half a second")
	}
	l.rules = defaultRules
	if !taken(t, l, d, soon, Options{}) {
		t.Error("the lock of a predecessor was not taken over")
	}
}

func TestProcessStart(t *testing.T) {
	before := time.Now()
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	after := time.Now()
	p := findProcess(cmd.Process.Pid)
	heldUp := time.Since(after) // makes it seem so much older
	if !p.exists || p.started.Before(before.Add(-startSlack-heldUp)) || p.started.After(after.Add(startSlack)) {
		t.Errorf("a process that began between %s and %s: %+v", before, after, p)
	}
	if p := findProcess(deadPID(t)); p.exists {
		t.Errorf("a dead process: %+v", p)
	}
	if n, ok := startTicks([]byte("7 (a ) b) S" + strings.Repeat(" 1", 18) + " 4711 0")); !ok || n != 4711 {
		t.Errorf("start of a process with a strange name: %d, %v", n, ok)
	}
	for _, bad := range []string{"", "7 (x", "7 (x) S 1 2", "7 (x) S" + strings.Repeat(" 1", 18) + " x"} {
		if _, ok := startTicks([]byte(bad)); ok {
			t.Errorf("start read from %q", bad)
		}
	}
}

// TestBootTime: a delay between the two clock readings makes the start of the machine seem
// earlier, and never later.
func TestBootTime(t *testing.T) {
	// With the readings in the opposite order, it is the start or later.
	later := func() time.Time {
		var up unix.Timespec
		must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &up))
		return time.Now().Add(-time.Duration(up.Nano()))
	}
	for range 20_000 {
		// Two of them, because the clock may be set in between.
		first, boot, second := later(), bootTime(), later()
		if boot.After(first.Add(time.Microsecond)) && boot.After(second.Add(time.Microsecond)) {
			t.Fatalf("the machine was started at %s, and not after %s or %s", boot, first, second)
		}
	}
}

// TestUnknownHolder: a lock that does not name a process of this host is taken over when
// nothing has changed for two minutes.
func TestUnknownHolder(t *testing.T) {
	for _, content := range []string{"", "77:elsewhere", "nonsense", "0:host.test", "1:", ":", "77:host.test.example"} {
		t.Run(strconv.Quote(content), func(t *testing.T) {
			t.Parallel()
			d, path := openDir(t)
			plant(t, path, content, 0)
			if taken(t, at(100*time.Second), d, 300*time.Millisecond, Options{}) {
				t.Error("taken over after 100 s")
			}
			must(t, os.WriteFile(filepath.Join(path, "dovecot-uidlist"), nil, 0o600))
			ahead := time.Now().Add(100 * time.Second)
			must(t, os.Chtimes(filepath.Join(path, "dovecot-uidlist"), ahead, ahead))
			if taken(t, at(130*time.Second), d, 2500*time.Millisecond, Options{Watch: []string{"dovecot-uidlist", "missing"}}) {
				t.Error("taken over though the list had just changed")
			}
			l := early(130 * time.Second)
			if taken(t, l, d, 300*time.Millisecond, Options{}) {
				t.Error("taken over without a second look")
			}
			// The observation continues from one attempt to the next.
			l.rules = defaultRules
			time.Sleep(l.rules.fresh)
			if !taken(t, l, d, soon, Options{}) {
				t.Error("not taken over after 130 s")
			}
		})
	}
}

// TestEmptyAfterRestart: an empty lock that is older than this run of the machine belongs
// to nobody, if no other machine uses the file system.
func TestEmptyAfterRestart(t *testing.T) {
	for _, c := range []struct {
		name, content string
		boot          time.Duration // after the lock was made
		taken         bool
	}{
		{"made before the start", "", time.Minute, true},
		{"made after the start", "", -time.Minute, false},
		{"made as the machine started", "", time.Second, false},
		{"another host's", "77:elsewhere", time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, path := openDir(t)
			plant(t, path, c.content, 0)
			made, err := d.Lstat(name)
			must(t, err)
			boot := made.Changed().Add(c.boot)
			l := early(c.boot + time.Second)
			l.boot = func() time.Time { return boot }
			if taken(t, l, d, 200*time.Millisecond, Options{}) {
				t.Error("taken over at once: the clock may have been set forward while it is held")
			}
			l.rules = defaultRules
			limit := 4 * time.Second
			if c.taken {
				limit = soon
			}
			if c.taken != taken(t, l, d, limit, Options{}) {
				t.Errorf("taken over: %v, has to be %v", !c.taken, c.taken)
			}
		})
	}
	if up := time.Since(bootTime()); up <= 0 || up < time.Since(findProcess(os.Getpid()).started)-startSlack {
		t.Errorf("the machine was started %s ago, this process earlier", up)
	}
}

// TestOwnEmptyLock: a lock that had no room for our name is ours all the same.
func TestOwnEmptyLock(t *testing.T) {
	d, path := openDir(t)
	l := at(0)
	held, err := l.Acquire(context.Background(), d, name, Options{})
	must(t, err)
	must(t, os.Truncate(filepath.Join(path, name), 0))
	l.now = func() time.Time { return time.Now().Add(time.Hour) }
	if taken(t, l, d, 3*time.Second, Options{}) {
		t.Error("taken over while it is held")
	}
	must(t, held.Touch())
	must(t, held.Release())
}

// TestOwnNumber: a lock with our own process number that we do not hold was left by an
// earlier process if it is older than we are.
func TestOwnNumber(t *testing.T) {
	d, path := openDir(t)
	plant(t, path, fmt.Sprintf("%d:host.test", os.Getpid()), 0)
	l := at(3 * time.Second)
	if taken(t, l, d, 300*time.Millisecond, Options{}) {
		t.Error("a lock that a namesake in another container may hold was taken over")
	}
	l.start = time.Now().Add(time.Second)
	if !taken(t, l, d, soon, Options{}) {
		t.Error("a lock of the process before us was not taken over")
	}
	held, err := l.Acquire(context.Background(), d, name, Options{})
	must(t, err)
	l.start = time.Now().Add(time.Hour) // the clock was set back
	if taken(t, l, d, 300*time.Millisecond, Options{}) {
		t.Error("our own lock was taken over while we hold it")
	}
	must(t, held.Release())
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

// inside fails if two hold the lock at once: it creates a file, increments a counter in a
// way that could lose an update, and removes the file.
func inside(path string) error {
	guard := filepath.Join(path, "inside")
	f, err := os.OpenFile(guard, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("two hold the lock: %w", err)
	}
	_ = f.Close()
	counter := filepath.Join(path, "counter")
	data, err := os.ReadFile(counter)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n, _ := strconv.Atoi(string(data))
	if err := os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
		return err
	}
	return os.Remove(guard)
}

func contend(d *dirfd.Dir, path string, l *Locker, rounds int) error {
	for range rounds {
		lock, err := l.Acquire(context.Background(), d, name, Options{Timeout: time.Minute})
		if err != nil {
			return err
		}
		err = errors.Join(inside(path), lock.Release())
		if err != nil {
			return err
		}
	}
	return nil
}

func counted(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path, "counter"))
	must(t, err)
	n, err := strconv.Atoi(string(data))
	must(t, err)
	return n
}

const helperEnv = "DOTLOCK_TEST_DIR"

// TestMain makes this program the second process of TestTwoProcesses.
func TestMain(m *testing.M) {
	if path := os.Getenv(helperEnv); path != "" {
		d, err := dirfd.Open(path)
		if err == nil {
			err = contend(d, path, NewLocker("host.test"), 200)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestTwoProcesses(t *testing.T) {
	d, path := openDir(t)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	l := NewLocker("host.test")
	for range 3 {
		all.Go(func() {
			if err := contend(d, path, l, 100); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := counted(t, path); got != 700 {
		t.Errorf("counted %d of 700: updates were lost", got)
	}
}

// TestContendedTakeover: many find the same lock left behind, again and again, and two
// never get in at once.
func TestContendedTakeover(t *testing.T) {
	d, path := openDir(t)
	const rounds, waiters = 60, 6
	for range rounds {
		// A current one each time: the number may soon be that of another process.
		plant(t, path, fmt.Sprintf("%d:host.test", deadPID(t)), 0)
		var all sync.WaitGroup
		for range waiters {
			l := NewLocker("host.test")
			l.rules = rules{}
			all.Go(func() {
				if err := contend(d, path, l, 2); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if got := counted(t, path); got != rounds*waiters*2 {
		t.Errorf("counted %d of %d: updates were lost", got, rounds*waiters*2)
	}
	entries, err := os.ReadDir(path)
	must(t, err)
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "counter" }) {
		t.Errorf("left behind: %v", entries)
	}
}

// TestTakeAwayLive: a live lock that replaced the stale one is left alone.
func TestTakeAwayLive(t *testing.T) {
	d, path := openDir(t)
	file := plant(t, path, "1:host.test", 0)
	gone, err := takeAway(d, name, nil, dirfd.Stat{Dev: 1, Ino: 2})
	if !gone || err != nil {
		t.Errorf("%v, %v", gone, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	mine, err := d.Open(name)
	must(t, err)
	defer mine.Close()
	st, err := dirfd.FileStat(mine)
	must(t, err)
	other, err := d.Open(name)
	must(t, err)
	defer other.Close()
	must(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	if gone, err := takeAway(d, name, mine, st); gone || err != nil {
		t.Errorf("while another does it: %v, %v", gone, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestSightingsAreBounded(t *testing.T) {
	l := NewLocker("host.test")
	for i := range 5 * maxSightings {
		l.unchangedFor(state{id: dirfd.ID{Dev: 1, Ino: uint64(i)}})
	}
	if len(l.seen) > 2*maxSightings {
		t.Errorf("%d sightings are remembered", len(l.seen))
	}
}

func TestTakeoverIsLogged(t *testing.T) {
	d, path := openDir(t)
	pid := deadPID(t)
	plant(t, path, fmt.Sprintf("%d:host.test", pid), 0)
	var log strings.Builder
	l := at(3 * time.Second)
	l.Log = slog.New(slog.NewTextHandler(&log, nil))
	if !taken(t, l, d, soon, Options{}) {
		t.Fatal("not taken over")
	}
	if !strings.Contains(log.String(), path) || !strings.Contains(log.String(), fmt.Sprintf("process %d of this host, which no longer exists", pid)) {
		t.Errorf("logged %q", log.String())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	d, _ := openDir(b)
	l := NewLocker("host.test")
	for b.Loop() {
		lock, err := l.Acquire(context.Background(), d, name, Options{})
		must(b, err)
		must(b, lock.Release())
	}
}
