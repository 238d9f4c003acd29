package uidlist

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// work writes everything that this package writes, for TestOrderOfWrites.
func work(path string) error {
	d, err := dirfd.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	validity, err := NextValidity(d, time.Now(), true)
	if err != nil {
		return err
	}
	f := New(d, Options{Fsync: true})
	if _, err := f.Refresh(func(Record) {}); err != nil {
		return err
	}
	mark := func(what string) { _, _ = os.Lstat("mark-" + what) }
	mark("rewrite")
	if err := f.Rewrite(Header{UIDValidity: validity}, seq(Record{1, "", "a"})); err != nil {
		return err
	}
	mark("append")
	if err := f.Append([]Record{{2, "", "b"}, {3, "", "c"}}); err != nil {
		return err
	}
	mark("prepare")
	err = f.Prepare(f.Header(), seq(Record{3, "", "c"}), Steps{Before: func() error {
		mark("ready")
		return nil
	}})
	if err != nil {
		return err
	}
	mark("settle")
	if err := f.Settle(); err != nil {
		return err
	}
	mark("done")
	return nil
}

// TestOrderOfWrites examines the system calls: a value of the counter and a new list are on
// disk before the call returns, a list gets its name only after its content and everything
// that has to come before, and an append is one write of whole lines.
func TestOrderOfWrites(t *testing.T) {
	if path := os.Getenv("UIDLIST_WORK"); path != "" {
		must(t, work(path))
		return
	}
	strace, err := exec.LookPath("strace")
	must(t, err)
	dir := t.TempDir()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-qq", "-y", "-s", "200", "-o", trace,
		"-e", "trace=write,pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,?newfstatat,?fstatat64,linkat,openat", os.Args[0], "-test.run=^TestOrderOfWrites$")
	cmd.Env = append(os.Environ(), "UIDLIST_WORK="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	must(t, err)
	var got []string
	begun := map[string]string{} // by thread: a call that another thread's came between
	for line := range strings.Lines(string(text)) {
		thread, _, _ := strings.Cut(line, " ")
		if head, _, found := strings.Cut(line, " <unfinished ...>"); found {
			begun[thread] = head
			continue
		}
		if _, tail, found := strings.Cut(line, " resumed>"); found {
			line = begun[thread] + tail
		}
		if call := brief(line, dir); call != "" {
			got = append(got, call)
		}
	}
	ready := slices.Index(got, "mark-ready") // at any time before the list gets its name
	if ready < 0 || !slices.Contains(got[:ready], "mark-prepare") || !slices.Contains(got[ready:], "rename to dovecot-uidlist") {
		t.Errorf("what has to come before the list gets its name is call %d of\n  %s", ready, strings.Join(got, "\n  "))
	}
	got = slices.DeleteFunc(got, func(call string) bool { return call == "mark-ready" })
	got = slices.Compact(got)
	want := []string{
		"create dovecot-uidvalidity.N", "fsync directory",
		"create dovecot-uidvalidity.tmp.N", `write dovecot-uidvalidity.tmp.N`, "rename to dovecot-uidvalidity",
		"mark-rewrite",
		"create dovecot-uidlist.tmp", "write dovecot-uidlist.tmp", "fsync dovecot-uidlist.tmp", "rename to dovecot-uidlist", "fsync directory",
		"mark-append",
		"write dovecot-uidlist", "fdatasync dovecot-uidlist",
		"mark-prepare",
		"create dovecot-uidlist.tmp", "write dovecot-uidlist.tmp", "fsync dovecot-uidlist.tmp", "rename to dovecot-uidlist",
		"mark-settle",
		"fsync directory",
		"mark-done",
	}
	if !slices.Equal(got, want) {
		t.Errorf("system calls\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		t.Logf("the trace:\n%s", text)
	}
}

var (
	call    = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += `)
	digits  = regexp.MustCompile(`[0-9a-f]{8}`)
	quoted  = regexp.MustCompile(`"([^"]*)"`)
	ofFd    = regexp.MustCompile(`^\d+<([^>]*)>`)
	creates = regexp.MustCompile(`O_CREAT`)
)

// brief describes in a few words what a traced call does in dir, "" for nothing.
func brief(line, dir string) string {
	m := call.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	name, args := m[1], m[2]
	if name == "newfstatat" || name == "fstatat64" {
		if i := strings.Index(args, `"mark-`); i >= 0 {
			return quoted.FindStringSubmatch(args[i:])[1]
		}
		return ""
	}
	fd := ofFd.FindStringSubmatch(args)
	if fd == nil || !strings.HasPrefix(fd[1], dir) {
		return ""
	}
	file := digits.ReplaceAllString(strings.TrimPrefix(strings.TrimPrefix(fd[1], dir), "/"), "N")
	if file == "" {
		file = "directory"
	}
	names := quoted.FindAllStringSubmatch(args, -1)
	switch {
	case name == "openat" && creates.MatchString(args):
		return "create " + digits.ReplaceAllString(names[0][1], "N")
	case strings.HasPrefix(name, "rename"):
		return "rename to " + digits.ReplaceAllString(names[1][1], "N")
	case strings.HasSuffix(name, "sync"), name == "write":
		return name + " " + file
	}
	return ""
}

// TestNoRoom: an append that does not fit leaves only whole lines, and the list continues
// when there is room again.
func TestNoRoom(t *testing.T) {
	d := openDir(t)
	f := open(d)
	f.refresh(t)
	must(t, f.Rewrite(Header{UIDValidity: 17}, seq()))
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	recs := make([]Record, 100)
	for i := range recs {
		recs[i] = Record{UID: uint32(i + 1), Base: fmt.Sprintf("17%08d.M%dP1.host", i, i)}
	}
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1500, Max: old.Max}))
	failed := f.Append(recs)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if !errors.Is(failed, unix.EFBIG) {
		t.Fatal(failed)
	}
	text := content(t, d)
	if !strings.HasSuffix(text, "\n") || len(text) < 1400 || len(text) > 1500 {
		t.Errorf("%d bytes, ending in %q", len(text), text[max(0, len(text)-80):])
	}
	change, got := f.refresh(t)
	if change != Replaced || len(got) < 20 || f.damaged {
		t.Errorf("%v with %d records, damaged %v: %s", change, len(got), f.damaged, &f.log)
	}
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1000, Max: old.Max}))
	failed = f.Rewrite(f.Header(), seq(recs...))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if !errors.Is(failed, unix.EFBIG) || content(t, d) != text {
		t.Errorf("a rewrite that failed (%v) left\n%s", failed, content(t, d))
	}
	if names := entries(t, d.Path()); !slices.Equal(names, []string{Name}) {
		t.Errorf("left behind: %q", names)
	}
	must(t, f.Append([]Record{{UID: f.Header().NextUID, Base: "last"}}))
	if now := content(t, d); !strings.HasPrefix(now, text) || !strings.HasSuffix(now, " :last\n") {
		t.Error("cannot append where there is room again")
	}
}

// TestListInDoubt: a list whose name could not be made durable is rewritten before a UID is
// added to it, because another fsync may wrongly report success.
func TestListInDoubt(t *testing.T) {
	path := t.TempDir()
	d, err := dirfd.Open(path)
	must(t, err)
	defer d.Close()
	var calls []string
	fails := false
	d.Before(func(op, _ string) error {
		calls = append(calls, op)
		if fails && op == "sync" {
			return unix.EIO
		}
		return nil
	})
	f := New(d, Options{Fsync: true})
	must(t, f.Rewrite(Header{UIDValidity: 7}, seq(Record{1, "", "a"})))
	fails = true
	if err := f.Rewrite(f.Header(), seq(Record{1, "", "a"})); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	fails = false
	_, err = f.Refresh(func(Record) {})
	must(t, err)
	for _, r := range []struct {
		uid  uint32
		anew bool
	}{{2, true}, {3, false}} {
		calls = nil
		must(t, f.Append([]Record{{r.uid, "", fmt.Sprint("m", r.uid)}}))
		rename, sync := slices.Index(calls, "rename"), slices.Index(calls, "sync")
		if written := rename >= 0 && sync > rename; written != r.anew {
			t.Errorf("UID %d: written anew %v, want %v: %q", r.uid, written, r.anew, calls)
		}
	}
}

// TestAppendNotDurable: records that could not be made durable are removed again. The list
// is not reported as damaged then, and the UIDs are not used again: Dovecot reads the list
// without its lock.
func TestAppendNotDurable(t *testing.T) {
	d := openDir(t)
	before := "3 V17 N1 G" + guid + "\n1 :a\n"
	put(t, d, before)
	f := open(d)
	f.opt.Fsync = true
	f.opt.DataSync = func(*dirfd.File) error { return unix.EIO }
	f.refresh(t)
	if err := f.Append([]Record{{2, "", "b"}, {3, "", "c"}}); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	if got := content(t, d); got != before {
		t.Errorf("the file is\n%s", got)
	}
	f.opt.DataSync = (*dirfd.File).DataSync
	f.refresh(t)
	if n := f.Header().NextUID; n != 4 || f.damaged || f.log.Len() > 0 {
		t.Errorf("next UID %d, damaged: %v, logged: %s", n, f.damaged, &f.log)
	}
	must(t, f.Append([]Record{{4, "", "c"}}))
	if got := content(t, d); got != "3 V17 N5 G"+guid+"\n1 :a\n4 :c\n" {
		t.Errorf("the file is\n%s", got)
	}
}
