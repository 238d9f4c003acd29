package backup

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dotlock"
	"maildird/maildir/uidlist"
	"maildird/maildir/walk"
)

var flagStep = flag.Int("step", 60, "of TestInterleave: how many system calls there are to one that an action is tried before")

// TestInterleave lets another program do one thing to a Maildir right before each system
// call of a backup in turn: the snapshot is the Maildir as it was before that or after it,
// and each message in it has the UID that it had.
func TestInterleave(t *testing.T) {
	runs := 0
	for _, noEvents := range []bool{false, true} {
		for _, other := range interleaved {
			for call, calls := runs%*flagStep, math.MaxInt; call < calls; call += *flagStep {
				runs++
				calls = interleave(t, other, call, noEvents)
			}
		}
	}
	t.Logf("%d interleavings", runs)
}

// interleaved are what other programs do, with paths below the Maildir.
var interleaved = []struct {
	name string
	do   func(path func(string) string)
}{
	{"rm -r .A", func(path func(string) string) { _ = os.RemoveAll(path(".A")) }},
	{"mv .A .R", func(path func(string) string) { _ = os.Rename(path(".A"), path(".R")) }},
	{"mv .D .A.E", func(path func(string) string) { _ = os.Rename(path(".D"), path(".A.E")) }},
	{"move from .A to .D", func(path func(string) string) { _ = os.Rename(path(".A/cur/1.a:2,S"), path(".D/cur/1.a:2,S")) }},
	{"move from .D to INBOX", func(path func(string) string) { _ = os.Rename(path(".D/cur/1.d:2,S"), path("cur/1.d:2,S")) }},
	{"flag", func(path func(string) string) { _ = os.Rename(path(".A/cur/1.a:2,S"), path(".A/cur/1.a:2,RS")) }},
	{"read new mail", func(path func(string) string) { _ = os.Rename(path(".A/new/2.a"), path(".A/cur/2.a:2,")) }},
	{"remove", func(path func(string) string) { _ = os.Remove(path(".A/cur/1.a:2,S")) }},
	{"deliver", func(path func(string) string) {
		_ = os.WriteFile(path(".A/tmp/9"), []byte("9.a"), 0o600)
		_ = os.Rename(path(".A/tmp/9"), path(".A/new/9.a"))
	}},
	{"another .A", func(path func(string) string) {
		_ = os.Rename(path(".A"), path("../aside"))
		for _, sub := range []string{"new", "tmp", "cur"} {
			_ = os.MkdirAll(path(".A/"+sub), 0o700)
		}
		_ = os.WriteFile(path(".A/cur/8.a:2,"), []byte("8.a"), 0o600)
	}},
	{".A becomes a symbolic link", func(path func(string) string) {
		_ = os.Rename(path(".A"), path("../aside"))
		_ = os.Symlink(path("../aside"), path(".A"))
	}},
	{".A becomes a file", func(path func(string) string) {
		_ = os.Rename(path(".A"), path("../aside"))
		_ = os.WriteFile(path(".A"), []byte("file"), 0o600)
	}},
	{"make .N", func(path func(string) string) {
		for _, sub := range []string{"tmp", "new", "cur"} {
			_ = os.MkdirAll(path(".N/"+sub), 0o700)
		}
	}},
	{"rm tmp", func(path func(string) string) { _ = os.RemoveAll(path(".A/tmp")) }},
	{"rm cur", func(path func(string) string) { _ = os.RemoveAll(path(".A/cur")) }},
	{"another cur", func(path func(string) string) {
		_ = os.Rename(path(".A/cur"), path("../aside"))
		_ = os.Mkdir(path(".A/cur"), 0o700)
		_ = os.Rename(path("../aside/1.a:2,S"), path(".A/cur/1.a:2,S"))
	}},
	{"rm subscriptions", func(path func(string) string) { _ = os.Remove(path("subscriptions")) }},
	{"other subscriptions", func(path func(string) string) {
		_ = os.WriteFile(path("tmp/s"), []byte("D\n"), 0o600)
		_ = os.Rename(path("tmp/s"), path("subscriptions"))
	}},
	{"a FIFO takes a message's place", func(path func(string) string) {
		_ = os.Remove(path(".A/cur/1.a:2,S"))
		_ = os.Symlink(path("subscriptions"), path(".A/cur/1.a:2,S"))
	}},
}

// interleave makes a Maildir and takes a snapshot, with the action before one call. It
// returns the number of calls.
func interleave(t *testing.T, other struct {
	name string
	do   func(path func(string) string)
}, call int, noEvents bool) (calls int) {
	top := t.TempDir()
	defer os.RemoveAll(top)
	root := filepath.Join(top, "m")
	maildirAt(t, root, ".A", ".A.B", ".D")
	known := map[string]string{}
	for i, folder := range []string{"", ".A", ".A.B", ".D"} {
		letter := string("iabd"[i])
		write(t, filepath.Join(root, folder, "cur/1."+letter+":2,S"), "1."+letter)
		write(t, filepath.Join(root, folder, "new/2."+letter), "2."+letter)
		write(t, filepath.Join(root, folder, uidlist.Name), fmt.Sprintf("3 V%d N9 G%032x\n7 :1.%s\n8 :2.%s\n", 1700000000+i, i+1, letter, letter))
		known[fmt.Sprint(1700000000+i, " 7")], known[fmt.Sprint(1700000000+i, " 8")] = "1."+letter, "2."+letter
	}
	write(t, filepath.Join(root, "subscriptions"), "A\nD\n")
	before := contents(t, root)
	after := before
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := ""
	name := fmt.Sprintf("events: %t, %s before call %d:", !noEvents, other.name, call)
	r, err := Take(ctx, Options{Root: root, Dest: filepath.Join(top, "s"), Locker: dotlock.NewLocker(""), noEvents: noEvents, before: func(op, path string) error {
		if calls == call {
			at = op + " " + strings.TrimPrefix(path, top)
			other.do(func(name string) string { return filepath.Join(root, name) })
			after = contents(t, root)
		}
		calls++
		return nil
	}})
	if err != nil {
		t.Errorf("%s %s: %v", name, at, err)
		return calls
	}
	if got := contents(t, r.Path); !slices.Equal(got, before) && !slices.Equal(got, after) {
		t.Errorf("%s %s: the snapshot has\n%q\nthe Maildir had\n%q\nand then\n%q", name, at, got, before, after)
	}
	for _, dir := range []string{root, r.Path} {
		for _, folder := range []string{"", ".A", ".A.B", ".A.E", ".D", ".R", ".N"} {
			if _, err := os.Lstat(filepath.Join(dir, folder, uidlist.Name)); err != nil || folder == ".A" && strings.Contains(other.name, "becomes") {
				continue
			}
			found, h := uids(t, filepath.Join(dir, folder))
			for base, uid := range found {
				if was := known[fmt.Sprint(h.UIDValidity, " ", uid)]; was != "" && was != base {
					t.Errorf("%s %s: UID %d of %s is %s and was %s", name, at, uid, folder, base, was)
				}
			}
		}
	}
	for _, name := range listing(t, top) {
		if strings.HasSuffix(name, ".lock") && name != "s/.lock" || strings.HasSuffix(name, incomplete) {
			t.Errorf("%s %s: %s is left", name, at, name)
		}
	}
	return calls
}

// contents returns the folders and messages of a Maildir and its subscriptions.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, name := range listing(t, dir) {
		st, err := os.Lstat(filepath.Join(dir, name))
		must(t, err)
		part := filepath.Base(filepath.Dir(name))
		switch {
		case part == "tmp" || slices.Contains(walk.MailDirs, filepath.Base(name)):
		case st.IsDir():
			found = append(found, name+"/")
		case st.Mode().IsRegular() && (part == "cur" || part == "new" || name == "subscriptions"):
			text, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			found = append(found, name+" "+string(text))
		}
	}
	return found
}
