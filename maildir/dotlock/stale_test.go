package dotlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// deadPID returns the number of a process that has ended.
func deadPID(t testing.TB) int {
	t.Helper()
	cmd := exec.Command("true")
	must(t, cmd.Run())
	return cmd.Process.Pid
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

func TestSightingsAreBounded(t *testing.T) {
	l := NewLocker("host.test")
	for i := range 5 * maxSightings {
		l.unchangedFor(state{id: dirfd.ID{Dev: 1, Ino: uint64(i)}})
	}
	if len(l.seen) > 2*maxSightings {
		t.Errorf("%d sightings are remembered", len(l.seen))
	}
}
