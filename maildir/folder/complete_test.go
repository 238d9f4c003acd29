package folder

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A program that creates a folder creates its directories one after another, and fails if
// somebody who saw the folder created one of them first.
func TestOpenWhileAnotherProgramMakesTheFolder(t *testing.T) {
	for _, name := range []string{"cur", ""} { // how far the other got
		root := t.TempDir()
		tree := openTree(t, root, Options{Layout: LayoutMaildirPP})
		path := filepath.Join(root, ".New")
		place(t, root, ".New/"+name)
		left := []string{"cur", "new", "tmp"}
		if name != "" {
			left = left[1:]
		}
		now := mtime(t, path)
		tree.now = func() time.Time { return now }
		tree.sleep = func(time.Duration) {
			if len(left) == 0 {
				t.Error("waited for a folder that was complete")
				return
			}
			if err := os.Mkdir(filepath.Join(path, left[0]), 0o700); err != nil {
				t.Errorf("the other program: %v", err)
			}
			now = mtime(t, path)
			left = left[1:]
		}
		if err := opens(tree, "New"); err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("opened before %q were made", left)
		}
	}
}

// A program that died, or never wanted to create the rest, is not waited for long, and not
// at all if the directory is old or its time is in the future.
func TestOpenOfAnUnfinishedFolder(t *testing.T) {
	for _, c := range []struct {
		age   time.Duration
		waits int
	}{
		{0, 25}, {240 * time.Millisecond, 1}, {250 * time.Millisecond, 0}, {24 * time.Hour, 0}, {-time.Hour, 0},
	} {
		root := t.TempDir()
		tree := openTree(t, root, Options{Layout: LayoutMaildirPP})
		place(t, root, ".New/")
		now := mtime(t, filepath.Join(root, ".New")).Add(c.age)
		tree.now = func() time.Time { return now }
		waits := 0
		tree.sleep = func(d time.Duration) { waits++; now = now.Add(d) }
		if err := opens(tree, "New"); err != nil {
			t.Fatal(err)
		}
		if waits != c.waits {
			t.Errorf("directory %v old: waited %d times, want %d", c.age, waits, c.waits)
		}
		for _, sub := range []string{"cur", "new", "tmp"} {
			if !exists(t, filepath.Join(root, ".New", sub)) {
				t.Errorf("directory %v old: %s was not made", c.age, sub)
			}
		}
	}
}

func mtime(t *testing.T, path string) time.Time {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}
