package folder

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHungProgram: a program hangs with a lock. Who waits for it in vain does so no
// longer than one does, however many wait.
func TestHungProgram(t *testing.T) {
	const patience, many = 500 * time.Millisecond, 20
	for name, change := range map[string]func(*Tree) error{
		treeLock:                    func(tree *Tree) error { return tree.Create("A", nil) },
		subscriptionsFile + ".lock": func(tree *Tree) error { return tree.SetSubscribed("A", true) },
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
