package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHungProgram: a program hangs while it holds a lock. However many wait for it in vain,
// each waits no longer than a single one would.
func TestHungProgram(t *testing.T) {
	const patience, many = 500 * time.Millisecond, 120
	for name, change := range map[string]func(*Tree) error{
		treeLock:                    func(tree *Tree) error { return tree.Create(t.Context(), "A", nil) },
		subscriptionsFile + ".lock": func(tree *Tree) error { return tree.SetSubscribed(t.Context(), "A", true) },
	} {
		tree, root := testTree(t, ppSlash)
		tree.lock, tree.file = patience, patience
		held, err := os.Create(filepath.Join(root, name))
		must(t, err)
		must(t, unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
		var all sync.WaitGroup
		began := time.Now()
		for range many {
			all.Go(func() {
				if err := change(tree); !errors.Is(err, ErrLocked) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > many*patience/2 {
			t.Errorf("%s: the last one waited %v", name, took)
		}
		must(t, held.Close())
	}
}

// TestWaitEnds: a caller that no longer has to wait for a program that hangs with a lock
// stops waiting, whether it waits for that program or for others that do.
func TestWaitEnds(t *testing.T) {
	const usesLock = specialUseFile + ".lock"
	for _, c := range []struct {
		lock   string
		change func(context.Context, *Tree) error
	}{
		{treeLock, func(ctx context.Context, tree *Tree) error { return tree.Create(ctx, "A", nil) }},
		{subscriptionsFile + ".lock", func(ctx context.Context, tree *Tree) error { return tree.SetSubscribed(ctx, "A", true) }},
		{usesLock, func(ctx context.Context, tree *Tree) error { return tree.Create(ctx, "A", []string{`\Sent`}) }},
		{usesLock, func(ctx context.Context, tree *Tree) error { return tree.Rename(ctx, "Mine", "Yours") }},
		{usesLock, func(ctx context.Context, tree *Tree) error { return tree.SetSpecialUse(ctx, "Mine", []string{`\Junk`}) }},
		{usesLock, func(ctx context.Context, tree *Tree) error {
			return tree.provision(ctx, []Default{{Name: "A", SpecialUse: `\Sent`}})
		}},
	} {
		tree, root := testTree(t, ppSlash, ".Mine/cur/", specialUseFile+" = \\Drafts Mine\n")
		tree.lock, tree.file, tree.stale = time.Hour, time.Hour, time.Hour
		held, err := os.Create(filepath.Join(root, c.lock))
		must(t, err)
		must(t, unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { wantError(t, c.change(ctx, tree), context.Canceled) })
		}
		waits := tree.fileTurn
		if c.lock == treeLock {
			waits = tree.lockTurn
		}
		for end := time.Now().Add(time.Minute); len(waits) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody waits for " + c.lock)
			}
		}
		cancel()
		all.Wait()
		must(t, os.Remove(held.Name()))
		must(t, held.Close())
		must(t, c.change(t.Context(), tree))
	}
}

// TestLockTouched: a lock file that counts as left behind is touched, or replaced by one
// with the same inode number, just when it is about to be removed. It stays.
func TestLockTouched(t *testing.T) {
	tree, root := testTree(t, ppSlash)
	lock := filepath.Join(root, subscriptionsFile+".lock")
	must(t, os.WriteFile(lock, []byte("in use"), 0o600))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(lock, old, old))
	now := time.Now().Add(2 * tree.stale)
	tree.now = func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}
	touched := false
	tree.root.Before(func(op, _ string) error {
		if op == "rename" && !touched {
			touched = true
			must(t, os.Chtimes(lock, now, now))
		}
		return nil
	})
	tree.file = 0
	wantError(t, tree.SetSubscribed(t.Context(), "A", true), ErrLocked)
	if text, err := os.ReadFile(lock); err != nil || string(text) != "in use" || !touched {
		t.Errorf("%q, %v, touched %v", text, err, touched)
	}
}
