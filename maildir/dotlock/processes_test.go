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

	"maildird/maildir/dirfd"
)

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
