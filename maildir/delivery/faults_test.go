package delivery

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/scripts/rig/failing"
)

var flagFaults = flag.Bool("faults", false, "have TestFaults try every error at every call")

// failingTarget returns a recipient whose folder's calls may fail.
func (f *testFolder) failingTarget(header string, c *failing.Calls) Target {
	return Target{Header: []byte(header), Open: func() (Dirs, func(), error) {
		dir, err := dirfd.Open(f.path)
		if err != nil {
			return Dirs{}, nil, err
		}
		dir.Before(c.Before)
		d, err := OpenDirs(dir)
		if err != nil {
			_ = dir.Close()
			return Dirs{}, nil, err
		}
		return d, d.Close, nil
	}}
}

// faultyDelivery is a way to deliver one message to several recipients.
type faultyDelivery struct {
	name   string
	count  int // of recipients
	each   bool
	groups [][]int
	size   int  // of the message
	fresh  bool // the folders have no new/, cur/ and tmp/
}

var faultyDeliveries = []faultyDelivery{
	{"one", 1, false, nil, 10, false},
	{"one, for the first time", 1, false, nil, 10, true},
	{"one, long", 1, false, nil, 3 * spoolMemory, false},
	{"all or none", 3, false, nil, 10, false},
	{"all or none, long", 3, false, nil, 3 * spoolMemory, false},
	{"each", 3, true, nil, 10, false},
	{"each, long", 3, true, nil, 3 * spoolMemory, false},
	{"groups", 4, true, [][]int{{0, 1}, {1, 2}, {3}}, 10, true},
	{"groups, long", 4, true, [][]int{{0, 1}, {2}, {3}}, 3 * spoolMemory, false},
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// faultOf delivers while a call fails, and returns the number of calls.
func (d *faultyDelivery) faultOf(t *testing.T, first int, lasting bool, reason error) int {
	var folders []*testFolder
	var paths []string
	for range d.count {
		f := &testFolder{t, failing.Dir(t)}
		if !d.fresh {
			f.open().Close()
		}
		folders, paths = append(folders, f), append(paths, f.path)
	}
	files := openFiles(t)
	c := failing.New(paths...)
	o := newOptions()
	text := strings.Repeat("0123456789abcde\n", d.size/16+1)
	deliver := func() []error {
		var targets []Target
		for i, f := range folders {
			targets = append(targets, f.failingTarget(fmt.Sprintf("To: %d\n", i), c))
		}
		s := NewSpool(targets, d.each, o)
		for _, g := range d.groups {
			s.Group(g...)
		}
		fill(s, "Subject: x\n\n"+text)
		return s.Commit()
	}
	c.Begin(first, lasting, reason)
	errs := deliver()
	calls, failed := c.End()
	defer func() {
		if t.Failed() {
			t.Logf("answers: %v\nfailed: %q\ncalls:\n%s", errs, failed, c.Log())
		}
	}()
	check := func(errs []error, count int) {
		t.Helper()
		for i, f := range folders {
			err := errs[i]
			if !d.each && (err == nil) != (errs[0] == nil) {
				t.Errorf("one has the message and one has not: %v", errs)
			}
			got := 0
			if _, statErr := os.Lstat(filepath.Join(f.path, "new")); statErr == nil {
				got = len(f.contents("new"))
				for _, have := range f.contents("new") {
					if have != fmt.Sprintf("To: %d\nSubject: x\n\n", i)+text {
						t.Errorf("recipient %d has %d other bytes", i, len(have))
					}
				}
			}
			want := count
			if err != nil {
				want--
				if !errors.Is(err, reason) || !strings.Contains(err.Error(), filepath.Dir(f.path)) {
					t.Errorf("the error does not tell what is wrong: %v", err)
				}
			} else if names := append(c.Missing(filepath.Join(f.path, "new"), ""), c.Missing(f.path, "")...); len(names) > 0 {
				t.Errorf("recipient %d has it, but not durably: %q", i, names)
			}
			if got != want && !(lasting && err != nil && strings.Contains(err.Error(), "taking the message back failed")) {
				t.Errorf("recipient %d: %d messages, want %d; %v", i, got, want, err)
			}
			if left, _ := filepath.Glob(filepath.Join(f.path, "tmp/*")); len(left) > 0 && !lasting {
				t.Errorf("left behind: %q", left)
			}
		}
	}
	check(errs, 1)
	if n := openFiles(t); n != files {
		t.Errorf("%d files are open, before %d", n, files)
	}
	if lasting {
		return calls
	}
	again := deliver()
	for i, f := range folders {
		if again[i] != nil {
			t.Errorf("again: %v", again[i])
		}
		want := 2
		if errs[i] != nil {
			want = 1
		}
		if got := len(f.contents("new")); got != want {
			t.Errorf("again: recipient %d has %d messages, want %d", i, got, want)
		}
		if names := append(c.Missing(filepath.Join(f.path, "new"), ""), c.Missing(f.path, "")...); len(names) > 0 {
			t.Errorf("again: recipient %d has it, but not durably: %q", i, names)
		}
	}
	return calls
}

// TestFaults: whichever system call of a delivery fails, once or with all subsequent calls,
// each recipient for whom success was reported has the message durably, and the others have
// nothing of it.
func TestFaults(t *testing.T) {
	for i := range faultyDeliveries {
		d := &faultyDeliveries[i]
		calls := d.faultOf(t, -1, false, nil)
		for first := range calls {
			for r, reason := range failing.Reasons {
				if !*flagFaults && r != first%len(failing.Reasons) {
					continue
				}
				for _, lasting := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d, %v, lasting %v", d.name, first, reason, lasting), func(t *testing.T) {
						d.faultOf(t, first, lasting, reason)
					})
				}
			}
		}
	}
}

// TestTakenBackDurably: if the message cannot be made durable in one folder, it is removed from the
// other, and would not be there again after a power failure.
func TestTakenBackDurably(t *testing.T) {
	var calls []string
	target := func(before func(op string) error) Target {
		d := newFolder(t).open()
		d.New.Before(func(op, _ string) error { return before(op) })
		return Target{Header: []byte("A: b\n"), Open: func() (Dirs, func(), error) { return d, d.Close, nil }}
	}
	good := target(func(op string) error { calls = append(calls, op); return nil })
	bad := target(func(op string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	o := newOptions()
	o.Fsync = true
	s := NewSpool([]Target{good, bad}, false, o)
	fill(s, "text\n")
	errs := s.Commit()
	if want := []string{"sync", "remove", "sync"}; !errors.Is(errs[0], syscall.EIO) || !slices.Equal(calls, want) {
		t.Errorf("%v after the calls %q, want %q", errs, calls, want)
	}
}

// TestRenamedAllTheSame: a rename that fails may have been done, as on a network file system.
// The sender, who would otherwise deliver the message again, is told that it was.
func TestRenamedAllTheSame(t *testing.T) {
	f := newFolder(t)
	f.open().Close()
	dir, err := dirfd.Open(f.path)
	must(t, err)
	base := ""
	dir.Before(func(op, path string) error {
		if op != "rename" {
			return nil
		}
		must(t, os.Rename(path, filepath.Join(f.path, "new", base)))
		return syscall.EIO
	})
	d, err := OpenDirs(dir)
	must(t, err)
	defer d.Close()
	temp, err := NewTemp(d, newOptions())
	must(t, err)
	_, err = temp.Write([]byte("Subject: x\n\n"))
	must(t, err)
	base, err = temp.Finish(time.Time{})
	must(t, err)
	name, err := temp.Commit(d.New, "")
	temp.Abort()
	if names := f.names("new"); err != nil || name != base || len(names) != 1 || len(f.names("tmp")) != 0 {
		t.Errorf("Commit: %q, %v; new/ has %q, tmp/ %q", name, err, names, f.names("tmp"))
	}
}
