package delivery

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testFolder is a Maildir folder seen from outside.
type testFolder struct {
	t    testing.TB
	path string
}

func newFolder(t testing.TB) *testFolder {
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "folder")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &testFolder{t: t, path: dir}
}

func (f *testFolder) open() Dirs {
	f.t.Helper()
	dir, err := dirfd.Open(f.path)
	must(f.t, err)
	d, err := OpenDirs(dir)
	must(f.t, err)
	return d
}

func (f *testFolder) target(header string) Target {
	return Target{Header: []byte(header), Open: func() (Dirs, func(), error) {
		dir, err := dirfd.Open(f.path)
		if err != nil {
			return Dirs{}, nil, err
		}
		d, err := OpenDirs(dir)
		if err != nil {
			_ = dir.Close()
			return Dirs{}, nil, err
		}
		return d, d.Close, nil
	}}
}

// names lists a subdirectory, sorted.
func (f *testFolder) names(sub string) []string {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.path, sub))
	must(f.t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out
}

// contents returns the contents of the files in a subdirectory in the order of their names.
func (f *testFolder) contents(sub string) []string {
	f.t.Helper()
	var out []string
	for _, name := range f.names(sub) {
		b, err := os.ReadFile(filepath.Join(f.path, sub, name))
		must(f.t, err)
		out = append(out, string(b))
	}
	return out
}

// asNobody drops root's file-system rights for the test's thread. The returned function
// restores them.
func asNobody(t *testing.T) func() {
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	const nobody = 65534
	must(t, unix.Setfsuid(nobody))
	return func() {
		_ = unix.Setfsuid(0)
		runtime.UnlockOSThread()
	}
}

// fill writes a message into a spool piece by piece, like a session: Commit reports errors.
func fill(s *Spool, text string) {
	for piece := range slices.Chunk([]byte(text), 5000) {
		_, _ = s.Write(piece)
	}
}
