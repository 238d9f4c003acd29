package torture

import (
	"flag"
	"io/fs"
	"os"
	"testing"
	"time"

	"maildird/scripts/rig"
)

var flagSeed = flag.Uint64("seed", 0, "what all chance follows from (default: from the clock)")

// binary is the path of maildird.
var binary string

func TestMain(m *testing.M) { os.Exit(rig.Main(m, &binary, false)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seedOf returns the seed of a test and prints it.
func seedOf(t *testing.T) uint64 {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return seed
}

// newMaildird prepares a program that ends with the test.
func newMaildird(t *testing.T, edits ...string) *rig.Maildird {
	t.Helper()
	m, err := rig.InitMaildird(binary, accounts, edits...)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			log := m.Log()
			t.Logf("the program's log ends with:\n%s", log[max(0, len(log)-4000):])
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// scratch returns a directory, in memory if possible.
func scratch(t *testing.T) string {
	base := "/dev/shm"
	if st, err := os.Stat(base); err != nil || !st.IsDir() {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "torture")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// noSockets returns a directory without files that cannot be copied.
func noSockets(dir string) fs.FS { return onlyFiles{os.DirFS(dir)} }

type onlyFiles struct{ fs.FS }

func (o onlyFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	var out []fs.DirEntry
	for _, e := range entries {
		if e.IsDir() || e.Type().IsRegular() {
			out = append(out, e)
		}
	}
	return out, err
}
