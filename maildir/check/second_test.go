package check

import (
	"hash/maphash"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
)

// TestSecondAlone: if a server removes the name that was to be kept, or gives it to another
// message, the other name stays.
func TestSecondAlone(t *testing.T) {
	for name, meanwhile := range map[string]func(cur string) error{
		"removed":  func(cur string) error { return os.Remove(cur + "1.a:2,S") },
		"replaced": func(cur string) error { return os.Rename(cur+"2.b:2,", cur+"1.a:2,S") },
	} {
		t.Run(name, func(t *testing.T) {
			path := maildir(t)
			write(t, path+"/cur/1.a:2,", "x")
			must(t, os.Link(path+"/cur/1.a:2,", path+"/cur/1.a:2,S"))
			write(t, path+"/cur/2.b:2,", "y")
			root, err := dirfd.Open(path)
			must(t, err)
			defer root.Close()
			var found []Finding
			c := &checker{root: root, told: map[uint64]bool{}, seed: maphash.MakeSeed(), opt: Options{
				Repair: true, Locker: dotlock.NewLocker(""), Tell: func(f Finding) { found = append(found, f) },
				Now: func() time.Time { return time.Now().Add(48 * time.Hour) },
			}}
			a := &at{dir: root}
			if must(t, c.duplicates(t.Context(), a)); len(a.problems) != 1 {
				t.Fatalf("found %v", a.problems)
			}
			must(t, meanwhile(path+"/cur/"))
			if must(t, c.settle(t.Context(), a)); len(found) > 0 {
				t.Errorf("repaired %v", found)
			}
			if text, err := os.ReadFile(path + "/cur/1.a:2,"); string(text) != "x" {
				t.Errorf("the message is %q, %v", text, err)
			}
		})
	}
}

// TestSecondYoung: a program that is just renaming a message by link and unlink, and then
// removes the first name, does not find the second one taken away.
func TestSecondYoung(t *testing.T) {
	path := maildir(t)
	write(t, path+"/cur/1.a:2,", "x")
	must(t, os.Link(path+"/cur/1.a:2,", path+"/cur/1.a:2,S"))
	r, err := Run(t.Context(), Options{
		Root: path, Folder: folder.Options{Layout: folder.LayoutMaildirPP}, Repair: true, Locker: dotlock.NewLocker(""), Tell: func(f Finding) { t.Error(f) },
	})
	must(t, err)
	if r.Findings > 0 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"1.a:2,", "1.a:2,S"} {
		if _, err := os.Lstat(path + "/cur/" + name); err != nil {
			t.Error(err)
		}
	}
}

// TestLaterLook: what another repair puts an end to is not left, and what only shows after
// another repair is reported.
func TestLaterLook(t *testing.T) {
	asNobody(t)
	root := t.TempDir() + "/m"
	for _, dir := range []string{"", "/cur", "/new", "/tmp"} {
		must(t, os.Mkdir(root+dir, 0o700))
	}
	unreadable := root + "/cur/1.a,S=9:2,"
	write(t, unreadable, "x")
	must(t, os.Chmod(unreadable, 0))
	r, found := run(t, root, true)
	if left := r.Findings - r.Repaired; left != 0 || r.Repaired != 2 || r.Messages != 1 {
		t.Errorf("%+v, found %v", r, found)
	}
	write(t, root+"/cur/2.b,S=9:2,SF", "\x1f\x8b is compressed")
	r, found = run(t, root, true)
	if left := r.Findings - r.Repaired; left != 1 || r.Repaired != 1 || len(found) != 2 || !strings.Contains(found[1].Cause, "cannot be read to the end") {
		t.Errorf("%+v, found %v", r, found)
	}
}

// asNobody makes a test that root runs act for a user who may not read a file without rights.
func asNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	const nobody = 65534
	must(t, unix.Setfsuid(nobody))
	t.Cleanup(func() {
		must(t, unix.Setfsuid(0))
		runtime.UnlockOSThread()
	})
}

// TestUnreadableSecond: two names of a message that cannot be compared do not keep anything else
// from being checked, nor the rights of the file from being repaired.
func TestUnreadableSecond(t *testing.T) {
	asNobody(t)
	root := t.TempDir() + "/m"
	for _, dir := range []string{"", "/cur", "/new", "/tmp", "/maildird-quarantine", "/maildird-quarantine/INBOX"} {
		must(t, os.Mkdir(root+dir, 0o700))
	}
	for _, name := range []string{"1.a:2,", "1.a:2,S"} {
		write(t, root+"/cur/"+name, "x")
		must(t, os.Chmod(root+"/cur/"+name, 0))
	}
	r, found := run(t, root, false)
	if r.Findings != 3 || r.Messages != 2 || !strings.Contains(found[0].Cause, "cannot be compared") {
		t.Errorf("%+v, found %v", r, found)
	}
	r, found = run(t, root, true)
	if r.Findings != 3 || r.Repaired != 3 || r.Messages != 1 { // two files' rights, and one is moved away
		t.Errorf("%+v, found %v", r, found)
	}
}

// TestUnlistable: a directory that may not be listed is a finding, and its rights are repaired.
func TestUnlistable(t *testing.T) {
	asNobody(t)
	root := t.TempDir() + "/m"
	for _, dir := range []string{"", "/cur", "/new", "/tmp"} {
		must(t, os.Mkdir(root+dir, 0o700))
	}
	write(t, root+"/cur/1.a:2,", "x")
	must(t, os.Chmod(root+"/cur", 0))
	r, found := run(t, root, false)
	if r.Findings != 2 || !strings.Contains(found[1].Cause, "may not list it") {
		t.Errorf("%+v, found %v", r, found)
	}
	if r, found = run(t, root, true); r.Findings != 1 || r.Repaired != 1 || r.Messages != 1 {
		t.Errorf("%+v, found %v", r, found)
	}
}

// TestReplacedBeside: what another program has put in the place of a lock that was left, or of
// a list that cannot be read, is not moved away.
func TestReplacedBeside(t *testing.T) {
	for name, before := range map[string]func(path string) error{
		"subscriptions.lock": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"dovecot-uidlist":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"dovecot-keywords":   func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := maildir(t)
			root, err := dirfd.Open(path)
			must(t, err)
			defer root.Close()
			must(t, before(path+"/"+name))
			var found []Finding
			c := &checker{root: root, told: map[uint64]bool{}, seed: maphash.MakeSeed(), opt: Options{
				Repair: true, Locker: dotlock.NewLocker(""), Tell: func(f Finding) { found = append(found, f) },
				Now: func() time.Time { return time.Now().Add(48 * time.Hour) },
			}}
			a := &at{dir: root}
			must(t, c.leftLocks(a))
			c.list(a)
			if c.keywords(a); len(a.problems) != 1 {
				t.Fatalf("found %v", a.problems)
			}
			write(t, path+"/other", "text")
			must(t, os.Rename(path+"/other", path+"/"+name))
			if must(t, c.settle(t.Context(), a)); len(found) > 0 {
				t.Errorf("repaired %v", found)
			}
			if text, err := os.ReadFile(path + "/" + name); string(text) != "text" {
				t.Errorf("the file is %q, %v", text, err)
			}
		})
	}
}
