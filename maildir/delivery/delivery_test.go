package delivery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/maildirsize"
)

func newOptions() *Options { return &Options{Host: "host.test", PID: 4711, Fsync: true} }

func virtualSize(s string) int64 {
	return int64(len(s) + strings.Count(s, "\n") - strings.Count(s, "\r\n"))
}

var finalName = regexp.MustCompile(`^\d+\.M\d+P4711V[0-9a-f]+I([0-9a-f]+)\.host\.test,S=\d+,W=\d+$`)

// checkOne fails the test if a folder does not contain exactly this message.
func (f *testFolder) checkOne(want string) {
	f.t.Helper()
	names, contents := f.names("new"), f.contents("new")
	if len(names) != 1 || contents[0] != want {
		f.t.Fatalf("new/ holds %q, want one file of %d bytes", names, len(want))
	}
	if !finalName.MatchString(names[0]) {
		f.t.Errorf("name %q has not the form of a unique name", names[0])
	}
	size, virtual := filename.Sizes(names[0])
	if size != int64(len(want)) || virtual != virtualSize(want) {
		f.t.Errorf("name %q says S=%d W=%d, the file has %d and %d", names[0], size, virtual, len(want), virtualSize(want))
	}
	f.checkEmpty("tmp")
}

func (f *testFolder) checkEmpty(subs ...string) {
	f.t.Helper()
	for _, sub := range subs {
		if names := f.names(sub); len(names) > 0 {
			f.t.Errorf("%s/ holds %q, want nothing", sub, names)
		}
	}
}

// texts returns messages on both sides of every size limit.
func texts() map[string]string {
	m := map[string]string{
		"empty": "", "newline": "\n", "no end": "x", "cr at the end": "x\r",
		"mixed": "a\r\nb\nc\rd\r\r\ne", "nul": "\x00\n",
	}
	line := strings.Repeat("y", 70) + "\n"
	for name, n := range map[string]int{
		"first buffer": spoolFirst, "memory": spoolMemory, "memory+1": spoolMemory + 1, "large": 3*spoolMemory + 17,
	} {
		m[name] = strings.Repeat(line, n/len(line)+1)[:n]
	}
	return m
}

func TestSpoolOne(t *testing.T) {
	for name, text := range texts() {
		for _, chunk := range []int{1 << 20, 4096, 1} {
			if chunk == 1 && len(text) > 100 {
				continue
			}
			for _, header := range []string{"", "Return-Path: <a@b>\n"} {
				t.Run(name, func(t *testing.T) {
					f := newFolder(t)
					s := NewSpool([]Target{f.target(header)}, false, newOptions())
					for rest := text; rest != ""; {
						n := min(chunk, len(rest))
						if k, err := s.Write([]byte(rest[:n])); k != n || err != nil {
							t.Fatal(k, err)
						}
						rest = rest[n:]
					}
					if s.Size() != int64(len(text)) {
						t.Errorf("Size() = %d, want %d", s.Size(), len(text))
					}
					if there, _ := filepath.Glob(f.path + "/new/*"); len(there) > 0 {
						t.Errorf("%q in new/ before Commit", there)
					}
					must(t, errors.Join(s.Commit()...))
					f.checkOne(header + text)
				})
			}
		}
	}
}

func TestSpoolMany(t *testing.T) {
	for name, text := range texts() {
		for _, each := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var folders []*testFolder
				var targets []Target
				header := func(i int) string { return strings.Repeat("h", i) + ": x\n" }
				for i := range 20 {
					f := newFolder(t)
					folders = append(folders, f)
					targets = append(targets, f.target(header(i)))
				}
				s := NewSpool(targets, each, newOptions())
				fill(s, text)
				if n := s.Size(); n != int64(len(text)) {
					t.Fatal(n)
				}
				must(t, errors.Join(s.Commit()...))
				for i, f := range folders {
					f.checkOne(header(i) + text)
				}
			})
		}
	}
}

// TestWide delivers to more folders than may be open at the same time as other deliveries.
func TestWide(t *testing.T) {
	o := newOptions()
	o.Fsync = false
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var targets []Target
			f := newFolder(t)
			for range spoolWide + 10 {
				targets = append(targets, f.target("A: b\n"))
			}
			s := NewSpool(targets, false, o)
			if _, err := s.Write([]byte("text\n")); err != nil {
				t.Error(err)
			}
			for _, err := range s.Commit() {
				if err != nil {
					t.Error(err)
				}
			}
			if n := len(f.names("new")); n != len(targets) {
				t.Errorf("%d files, want %d", n, len(targets))
			}
		})
	}
	wg.Wait()
}

// broken are targets that fail at one step.
var broken = map[string]func(*testFolder) Target{
	"open": func(*testFolder) Target {
		return Target{Open: func() (Dirs, func(), error) { return Dirs{}, nil, syscall.EMFILE }}
	},
	"create": func(f *testFolder) Target { // tmp/ is removed after it was opened
		return f.spoiled(func(Dirs) error { return os.Remove(filepath.Join(f.path, "tmp")) })
	},
	"link": func(f *testFolder) Target { // so is new/
		return f.spoiled(func(Dirs) error { return os.Remove(filepath.Join(f.path, "new")) })
	},
	"closed": func(f *testFolder) Target {
		return f.spoiled(func(d Dirs) error { return d.New.Close() })
	},
}

func (f *testFolder) spoiled(how func(Dirs) error) Target {
	t := f.target("X: y\n")
	open := t.Open
	t.Open = func() (Dirs, func(), error) {
		d, release, err := open()
		if err == nil {
			err = how(d)
		}
		return d, release, err
	}
	return t
}

// TestAllOrNone: a folder that fails at any step leaves nothing in any folder.
func TestAllOrNone(t *testing.T) {
	for name, breakIt := range broken {
		for _, size := range []int{10, 2 * spoolMemory} {
			for at := range 3 {
				t.Run(name, func(t *testing.T) {
					var targets []Target
					var good []*testFolder
					for i := range 3 {
						f := newFolder(t)
						f.open().Close()
						if i == at {
							targets = append(targets, breakIt(f))
							continue
						}
						good = append(good, f)
						targets = append(targets, f.target("A: b\n"))
					}
					s := NewSpool(targets, false, newOptions())
					fill(s, strings.Repeat("x", size))
					for i, err := range s.Commit() {
						if err == nil {
							t.Errorf("target %d has no error", i)
						}
					}
					for _, f := range good {
						f.checkEmpty("tmp", "new")
					}
				})
			}
		}
	}
}

// TestCommitAfter: the last step finds nothing in new/ yet, and its error leaves nothing
// anywhere. It is not done after another error.
func TestCommitAfter(t *testing.T) {
	refused := errors.New("refused")
	for _, size := range []int{10, 2 * spoolMemory} {
		for n := 1; n <= 2; n++ {
			for _, want := range []error{nil, refused} {
				var targets []Target
				var folders []*testFolder
				for range n {
					f := newFolder(t)
					folders = append(folders, f)
					targets = append(targets, f.target("A: b\n"))
				}
				s := NewSpool(targets, false, newOptions())
				text := strings.Repeat("x", size)
				fill(s, text)
				asked := 0
				errs := s.CommitAfter(func() error {
					asked++
					for _, f := range folders {
						f.checkEmpty("new")
						if got := f.contents("tmp"); len(got) != 1 || got[0] != "A: b\n"+text {
							t.Errorf("%d files are in tmp/", len(got))
						}
					}
					return want
				})
				for i, err := range errs {
					if !errors.Is(err, want) {
						t.Errorf("target %d: %v, want %v", i, err, want)
					}
				}
				for _, f := range folders {
					if want == nil {
						f.checkOne("A: b\n" + text)
					} else {
						f.checkEmpty("tmp", "new")
					}
				}
				if asked != 1 || len(errs) != n {
					t.Errorf("asked %d times, %d results", asked, len(errs))
				}
			}
		}
		full := newFolder(t).spoiledDirs(func(d *Dirs) { d.Room = func(int64) error { return maildirsize.ErrOver } })
		bad := func() Target {
			f := newFolder(t)
			f.open().Close()
			return broken["create"](f)
		}
		good := newFolder(t)
		good.open().Close()
		for i, targets := range [][]Target{{bad()}, {full}, {bad(), good.target("A: b\n")}, {good.target("A: b\n"), bad()}} {
			s := NewSpool(targets, false, newOptions())
			fill(s, strings.Repeat("x", size))
			for _, err := range s.CommitAfter(func() error { t.Errorf("%d: done after an error", i); return nil }) {
				if err == nil {
					t.Errorf("%d: no error", i)
				}
			}
			good.checkEmpty("tmp", "new")
		}
	}
}

// TestEach: over LMTP, recipients whose folder works get their mail.
func TestEach(t *testing.T) {
	for name, breakIt := range broken {
		for _, size := range []int{10, 2 * spoolMemory} {
			t.Run(name, func(t *testing.T) {
				text := strings.Repeat("x", size)
				var targets []Target
				folders := map[int]*testFolder{}
				for i := range 6 {
					f := newFolder(t)
					f.open().Close()
					if i%2 == 0 {
						targets = append(targets, breakIt(f))
						continue
					}
					folders[i] = f
					targets = append(targets, f.target("A: b\n"))
				}
				s := NewSpool(targets, true, newOptions())
				fill(s, text)
				for i, err := range s.Commit() {
					if (err == nil) != (folders[i] != nil) {
						t.Errorf("target %d: %v", i, err)
					}
				}
				for _, f := range folders {
					f.checkOne("A: b\n" + text)
				}
			})
		}
	}
}

// TestEachMovesOn: the file to which a long message is streamed fails halfway; the next
// folder gets all of it.
func TestEachMovesOn(t *testing.T) {
	text := strings.Repeat(strings.Repeat("z", 77)+"\n", 10*spoolMemory/78)
	a, b, c := newFolder(t), newFolder(t), newFolder(t)
	s := NewSpool([]Target{a.target("A: longer header\n"), b.target("B: x\n"), c.target("")}, true, newOptions())
	half := len(text) / 2
	if _, err := s.Write([]byte(text[:half])); err != nil {
		t.Fatal(err)
	}
	// A file that is open only for reading refuses the next write, like a full quota.
	f, err := os.Open(s.first.temp.file.Name())
	must(t, err)
	must(t, s.first.temp.file.Close())
	s.first.temp.file = &dirfd.File{File: f}
	if _, err := s.Write([]byte(text[half:])); err != nil {
		t.Fatal(err)
	}
	errs := s.Commit()
	if errs[0] == nil || errs[1] != nil || errs[2] != nil {
		t.Fatalf("errors %v, want one for the first folder only", errs)
	}
	a.checkEmpty("tmp", "new")
	b.checkOne("B: x\n" + text)
	c.checkOne(text)
}

// TestPanic: a bug triggered by one folder panics in the caller, so that it ends one
// session; the others get their mail, and nothing partial is left.
func TestPanic(t *testing.T) {
	var targets []Target
	var good []*testFolder
	for range 5 {
		f := newFolder(t)
		targets, good = append(targets, f.target("A: b\n")), append(good, f)
	}
	bad := newFolder(t)
	faulty := bad.target("A: b\n")
	open := faulty.Open
	faulty.Open = func() (Dirs, func(), error) {
		dirs, release, err := open()
		dirs.Room = func(int64) error { panic("a fault of the quota") }
		return dirs, release, err
	}
	s := NewSpool(append(targets, faulty), true, newOptions())
	fill(s, "text\n")
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); !strings.Contains(p, "a fault of the quota") || !strings.Contains(p, "TestPanic") {
				t.Errorf("panic %s", p)
			}
		}()
		s.Commit()
	}()
	for _, f := range good {
		f.checkOne("A: b\ntext\n")
	}
	bad.checkEmpty("tmp", "new")
}

// TestFileTooLarge: the system refuses to let a file grow. Nothing is left, and the cause
// is temporary.
func TestFileTooLarge(t *testing.T) {
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	f, g := newFolder(t), newFolder(t)
	for _, each := range []bool{false, true} {
		s := NewSpool([]Target{f.target(""), g.target("")}, each, newOptions())
		must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 3 * spoolMemory, Max: old.Max}))
		fill(s, string(make([]byte, 10*spoolMemory)))
		errs := s.Commit()
		must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
		for _, err := range errs {
			if CauseOf(err) != NoSpace {
				t.Errorf("error %v, want one for lack of space", err)
			}
		}
		f.checkEmpty("tmp", "new")
	}
}

// TestDiskFull needs the right to mount a file system.
func TestDiskFull(t *testing.T) {
	small := newFolder(t)
	if err := unix.Mount("none", small.path, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	defer func() { must(t, unix.Unmount(small.path, unix.MNT_DETACH)) }()
	other := newFolder(t)
	text := strings.Repeat("x", 10*spoolMemory)
	later := small.target("")
	open := later.Open
	later.Open = func() (Dirs, func(), error) {
		// There is space again, but what is known of the file system counts for all its targets.
		must(t, unix.Mount("none", small.path, "", unix.MS_REMOUNT, "size=4m"))
		return open()
	}
	s := NewSpool([]Target{small.target(""), later, other.target("H: x\n")}, true, newOptions())
	fill(s, text)
	errs := s.Commit()
	if !errors.Is(errs[0], unix.ENOSPC) || !errors.Is(errs[1], unix.ENOSPC) || errs[2] != nil {
		t.Errorf("errors %v, want ENOSPC for both folders on the full disk and none for the other", errs)
	}
	small.checkEmpty("tmp", "new")
	other.checkOne("H: x\n" + text)

	// It accepts mail again when there is space.
	s = NewSpool([]Target{small.target("")}, false, newOptions())
	_, _ = s.Write([]byte("small\n"))
	must(t, errors.Join(s.Commit()...))
	small.checkOne("small\n")
}

func TestAbort(t *testing.T) {
	f := newFolder(t)
	for _, size := range []int{10, 3 * spoolMemory} {
		s := NewSpool([]Target{f.target("")}, false, newOptions())
		_, err := s.Write(make([]byte, size))
		must(t, err)
		s.Abort()
		s.Abort()
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("Write after Abort worked")
		}
		if err := s.Commit()[0]; err == nil {
			t.Error("Commit after Abort worked")
		}
	}
	f.open().Close()
	f.checkEmpty("tmp", "new")
}
