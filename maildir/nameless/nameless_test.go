package nameless

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestCreate: both ways create a file that has no name, keeps what is written, and reports
// writes to a watcher.
func TestCreate(t *testing.T) {
	events, err := fsnotify.NewWatcher()
	must(t, err)
	defer func() { must(t, events.Close()) }()
	for name, create := range map[string]func(string) (*os.File, error){"Create": Create, "unlinked": unlinked} {
		dir := t.TempDir()
		file, err := create(dir)
		must(t, err)
		if in, err := os.ReadDir(dir); err != nil || len(in) > 0 {
			t.Errorf("%s: the directory has %v, %v", name, in, err)
		}
		path := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
		must(t, events.Add(path))
		_, err = file.WriteString("x")
		must(t, err)
		select {
		case ev := <-events.Events:
			if ev.Name != path || !ev.Has(fsnotify.Write) {
				t.Errorf("%s: %v", name, ev)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: no event", name)
		}
		must(t, events.Remove(path))
		var back [1]byte
		if _, err := file.ReadAt(back[:], 0); err != nil || back[0] != 'x' {
			t.Errorf("%s: it reads %q, %v", name, back, err)
		}
		must(t, file.Close())
	}
}

// TestError: if nothing can be created, the error says so and where.
func TestError(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if f, err := Create(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("%v, %v", f, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
