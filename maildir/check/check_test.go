package check

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/walk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func maildir(t *testing.T, folders ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range append(folders, "") {
		for _, sub := range walk.MailDirs {
			must(t, os.MkdirAll(filepath.Join(root, f, sub), 0o700))
		}
	}
	must(t, os.Chmod(root, 0o700))
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// run checks a Maildir two days from now, so that what a test has made is old.
func run(t *testing.T, root string, repair bool) (Result, []Finding) {
	t.Helper()
	var found []Finding
	r, err := Run(t.Context(), Options{
		Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP}, Repair: repair, Locker: dotlock.NewLocker(""), Delivery: &delivery.Options{Host: "host", PID: 1},
		Now:  func() time.Time { return time.Now().Add(48 * time.Hour) },
		Tell: func(f Finding) { found = append(found, f) },
	})
	must(t, err)
	return r, found
}

// texts returns the contents of all regular files of a Maildir except those beside the
// messages.
func texts(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "dovecot-") {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrPermission) { // we are not root
			info, _ := d.Info()
			must(t, os.Chmod(path, 0o600))
			text, err = os.ReadFile(path)
			must(t, os.Chmod(path, info.Mode()))
		}
		all = append(all, string(text))
		return err
	}))
	slices.Sort(all)
	return all
}

// TestSound: what other programs write correctly gives no finding.
func TestSound(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, root string)
	}{
		{"a sound message", func(t *testing.T, root string) { write(t, root+"/cur/1.a,S=4,W=5:2,FS", "x\nyz") }},
		{"links that are no folders", func(t *testing.T, root string) {
			must(t, os.Symlink("sieve/main", root+"/.dovecot.sieve"))
			must(t, os.Symlink(t.TempDir(), root+"/sieve"))
			must(t, os.MkdirAll(root+"/.A/cur", 0o700))
			must(t, os.MkdirAll(root+"/.A/new", 0o700))
			must(t, os.MkdirAll(root+"/.A/tmp", 0o700))
			must(t, os.Symlink(t.TempDir(), root+"/.A/.B"))
		}},
		{"foreign fields", func(t *testing.T, root string) { write(t, root+"/cur/1.a,U=7:2,PS", "x") }},
		{"foreign flag", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,SXZ", "x") }},
		{"foreign flag alone", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,Z", "x") }},
		{"foreign fields behind the flags", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,FS,x=y", "x") }},
		{"compressed", func(t *testing.T, root string) { write(t, root+"/cur/1.a,S=3,W=4:2,", gzipped) }},
		{"line ends are CRLF", func(t *testing.T, root string) { write(t, root+"/new/1.a,S=4,W=4,U=3", "x\r\nz") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildir(t)
			c.make(t, root)
			if r, found := run(t, root, false); r.Findings > 0 {
				t.Errorf("found %v", found)
			}
		})
	}
}

// TestFindings: each fault gives one finding with its cause; without Repair nothing
// changes; a repair fixes the fault, loses no byte of mail, and leaves nothing to find.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, root string)
		want string // in the finding
		done string // in what the repair did; "": it cannot be repaired
	}{
		{"foreign flags in disorder", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,SZX", "x") }, "ASCII order", "renamed it to cur/1.a:2,SXZ"},
		{"flag before a foreign one", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,ZSF", "x") }, "ASCII order", "renamed it to cur/1.a:2,FSZ"},
		{"wrong S", func(t *testing.T, root string) { write(t, root+"/cur/1.a,S=9:2,S", "x\nyz") },
			"its name says 9 bytes but it has 4: it was cut off or changed", "renamed it to cur/1.a,S=4,W=5:2,S"},
		{"wrong W", func(t *testing.T, root string) { write(t, root+"/new/1.a,S=4,W=6,U=3", "x\r\nz") },
			"says 6 octets with CRLF but it has 4", "renamed it to new/1.a,U=3,S=4,W=4"},
		{"compressed, wrong S", func(t *testing.T, root string) { write(t, root+"/cur/1.a,S=99:2,", gzipped) },
			"says 99 bytes but it has 3", "renamed it to cur/1.a,S=3,W=4:2,"},
		{"compressed, cut off", func(t *testing.T, root string) { write(t, root+"/cur/1.a,S=3:2,", gzipped[:20]) }, "cannot be read to the end", ""},
		{"no base", func(t *testing.T, root string) { write(t, root+"/cur/:2,S", "x") }, "no identity", ":2,S"},
		{"line break", func(t *testing.T, root string) { write(t, root+"/cur/1\n.a:2,", "x") }, "line break", "renamed it to cur/"},
		{"long name", func(t *testing.T, root string) { write(t, root+"/cur/"+strings.Repeat("1", 240)+":2,", "x") }, "so long", "renamed it"},
		{"flags out of order", func(t *testing.T, root string) { write(t, root+"/cur/1.a:2,SF", "x") }, "ASCII order", "renamed it to cur/1.a:2,FS"},
		{"hidden", func(t *testing.T, root string) { write(t, root+"/cur/.1.a:2,.Xy12", "x") }, "begins with a dot", "moved it to"},
		{"tmp", func(t *testing.T, root string) { write(t, root+"/tmp/1.a", "x") }, "an unfinished delivery left it here", "moved it to \"maildird-quarantine/INBOX/1.a\""},
		{"tmp of a folder", func(t *testing.T, root string) { write(t, root+"/.A/tmp/1.a", "x") }, "an unfinished delivery left it here", "moved it to \"maildird-quarantine/A/1.a\""},
		{"no tmp", func(t *testing.T, root string) { must(t, os.Remove(root+"/tmp")) }, "is missing", "made it"},
		{"symbolic link", func(t *testing.T, root string) { must(t, os.Symlink("/etc/passwd", root+"/cur/1.a:2,")) }, "a symbolic link", "moved it"},
		{"dangling link", func(t *testing.T, root string) { must(t, os.Symlink("nowhere", root+"/cur/1.a:2,")) }, "a symbolic link", "moved it"},
		{"endless link", func(t *testing.T, root string) { must(t, os.Symlink("/dev/zero", root+"/new/1.a")) }, "a symbolic link", "moved it"},
		{"FIFO", func(t *testing.T, root string) { must(t, syscall.Mkfifo(root+"/cur/1.a,S=3,W=3:2,", 0o600)) }, "a FIFO", "moved it"},
		{"directory", func(t *testing.T, root string) { must(t, os.MkdirAll(root+"/cur/1.a:2,/x", 0o700)) }, "a directory", "moved it"},
		{"two names", func(t *testing.T, root string) {
			write(t, root+"/cur/1.a:2,S", "x")
			write(t, root+"/new/1.a", "x")
		}, "the same message also exists", "moved it"},
		{"two messages", func(t *testing.T, root string) {
			write(t, root+"/cur/1.a:2,S", "xx")
			write(t, root+"/cur/1.a:2,", "yy")
		}, "another message has the same name", "renamed it"},
		{"not readable", func(t *testing.T, root string) {
			write(t, root+"/cur/1.a:2,", "x")
			must(t, os.Chmod(root+"/cur/1.a:2,", 0o200))
		}, "may not read and write it (mode 0200)", "set its rights to 0600"},
		{"open to all", func(t *testing.T, root string) {
			write(t, root+"/cur/1.a:2,", "x")
			must(t, os.Chmod(root+"/cur/1.a:2,", 0o666))
		}, "every user of this machine may change it", "set its rights to 0664"},
		{"damaged uidlist", func(t *testing.T, root string) {
			write(t, root+"/dovecot-uidlist", "3 V1 N9 G0123456789abcdef0123456789abcdef\n1 :1.a\nnonsense\n5 :2.b\n")
		}, "it is damaged: ", "with the 2 UIDs that can be read"},
		{"uidlist without a first line", func(t *testing.T, root string) { write(t, root+"/dovecot-uidlist", "1 :1.a\n") },
			"it is damaged: ", "was given a new one"},
		{"uidlist is a link", func(t *testing.T, root string) { must(t, os.Symlink("/dev/zero", root+"/dovecot-uidlist")) },
			"not a regular file", "moved it to maildird-quarantine/INBOX/dovecot-uidlist"},
		{"keyword without a name", func(t *testing.T, root string) {
			write(t, root+"/dovecot-keywords", "0 $label1\n")
			write(t, root+"/cur/1.a:2,ab", "x")
			write(t, root+"/cur/2.a:2,b", "y")
		}, "the letter b in the names of 2 messages stands for no keyword", ""},
		{"subscriptions", func(t *testing.T, root string) { write(t, root+"/subscriptions", "V\t7\n\nA\n") }, "no folder counts as subscribed", ""},
		{"folder is a link", func(t *testing.T, root string) { must(t, os.Symlink(t.TempDir(), root+"/.Archive")) }, ".Archive: it is a symbolic link to a directory", ""},
		{"cur of a folder is a link", func(t *testing.T, root string) {
			must(t, os.Mkdir(root+"/.B", 0o700))
			must(t, os.Symlink(t.TempDir(), root+"/.B/cur"))
		}, "B: cur: it is a symbolic link to a directory", ""},
		{"lock", func(t *testing.T, root string) { write(t, root+"/subscriptions.lock", "") }, "left this lock", "moved it"},
		{"lock with a line break in its name", func(t *testing.T, root string) { write(t, root+"/a\nb.lock", "") },
			`INBOX: "a\nb.lock": a program`, `moved it to "maildird-quarantine/INBOX/a\nb.lock"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildir(t, ".A")
			c.make(t, root)
			before := texts(t, root)
			r, found := run(t, root, false)
			if len(found) != 1 || !strings.Contains(found[0].String(), c.want) || strings.Contains(found[0].String(), "\n") {
				t.Errorf("found %v, want ...%s", found, c.want)
			}
			if again, _ := run(t, root, false); again.Findings != r.Findings {
				t.Errorf("looking changed something: %+v, then %+v", r, again)
			}
			repaired, found := run(t, root, true)
			if len(found) != 1 || !strings.Contains(found[0].Done, c.done) || (c.done != "") != (repaired.Repaired == 1) {
				t.Errorf("repaired %+v: %v, want ...%s", repaired, found, c.done)
			}
			if after := texts(t, root); !slices.Equal(after, before) {
				t.Errorf("the repair changed mail: %q, before %q", after, before)
			}
			if left, found := run(t, root, true); c.done != "" && left.Findings > 0 {
				t.Errorf("after the repair: %v", found)
			}
		})
	}
}

// TestAge: a lock counts as left behind after an hour, which is not "0 days".
func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1 hour", 90 * time.Minute: "1 hour", 47*time.Hour + 59*time.Minute: "47 hours", 48 * time.Hour: "2 days", 100 * 24 * time.Hour: "100 days",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestLinkedFolder: in the layout fs, a folder may be a link at every level.
func TestLinkedFolder(t *testing.T) {
	root := maildir(t, "Lists")
	must(t, os.Symlink(t.TempDir(), root+"/Lists/go"))
	must(t, os.Symlink(t.TempDir(), root+"/.cache"))
	var found []string
	_, err := Run(t.Context(), Options{
		Root: root, Folder: folder.Options{Layout: folder.LayoutFS}, Locker: dotlock.NewLocker(""),
		Tell: func(f Finding) { found = append(found, f.Folder+" "+f.Name) },
	})
	if must(t, err); !slices.Equal(found, []string{"Lists go"}) {
		t.Errorf("found %q", found)
	}
}

// TestForeignLink: root gives the owner what a delivery by root left, but nothing that the
// owner may have linked there to get it, and does not change its rights either.
func TestForeignLink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	root := maildir(t)
	const owner, other = 54321, 54322
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, owner, owner) }))
	left, secret := root+"/cur/1.left:2,", t.TempDir()+"/secret"
	write(t, left, "x")
	write(t, secret, "y")
	must(t, os.Chown(secret, other, other))
	must(t, os.Chmod(secret, 0o400|os.ModeSetuid))
	must(t, os.Link(secret, root+"/cur/2.linked:2,"))
	for _, repair := range []bool{false, true} {
		_, found := run(t, root, repair)
		if len(found) != 2 {
			t.Fatalf("found %v", found)
		}
		for _, f := range found {
			linked := strings.Contains(f.Name, "linked")
			if linked != strings.Contains(f.Cause, "give it to user 54321 (chown)") || (f.Done != "") != (repair && !linked) {
				t.Errorf("repair %v: %v", repair, f)
			}
		}
	}
	for path, want := range map[string]uint32{left: owner, secret: other} {
		st, err := os.Stat(path)
		must(t, err)
		if uid := st.Sys().(*syscall.Stat_t).Uid; uid != want {
			t.Errorf("%s belongs to %d", path, uid)
		}
		if path == secret && st.Mode() != 0o400|os.ModeSetuid {
			t.Errorf("the rights of another's file are %v", st.Mode())
		}
	}
}

// TestTakenName: of two names of a message the later one is kept and repaired, under the
// name that the other one had. One run is enough.
func TestTakenName(t *testing.T) {
	for later, want := range map[string]int{"FS": 1, "SF": 2} {
		t.Run(later, func(t *testing.T) {
			root := maildir(t)
			earlier := map[string]string{"FS": "SF", "SF": "FS"}[later]
			write(t, root+"/cur/1.a:2,"+earlier, "x")
			write(t, root+"/cur/1.a:2,"+later, "x")
			for !changed(t, root+"/cur/1.a:2,"+later).After(changed(t, root+"/cur/1.a:2,"+earlier)) { // both may fall within one tick of the kernel's clock
				must(t, os.Chmod(root+"/cur/1.a:2,"+later, 0o600))
			}
			for i, n := range []int{want, 0} {
				if r, found := run(t, root, true); r.Findings != n || r.Messages != 1 || len(texts(t, root)) != 2 {
					t.Errorf("run %d: %+v, found %v, left %q", i+1, r, found, texts(t, root))
				}
			}
			if files, err := os.ReadDir(root + "/cur"); err != nil || len(files) != 1 || files[0].Name() != "1.a:2,FS" {
				t.Errorf("left is %v, %v", files, err)
			}
		})
	}
}

// TestOneRun: whatever is wrong with names, also several things with one or names that are
// in each other's way, one run repairs all of it, and loses no byte of mail.
func TestOneRun(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		pick := func(list ...string) string { return list[r.IntN(len(list))] }
		root := maildir(t, ".A")
		var made []string
		for range 1 + r.IntN(5) {
			name := pick("1.a", "1.a,S=2", "1.a,S=4,W=5", "1.a,W=5", "1.a,S=4", "1.a,S=2,S=4", "", strings.Repeat("1", 240), strings.Repeat("2", 255)) +
				pick("", ":2,", ":2,S", ":2,SF", ":2,FS", ":2,SS", ":1,x", ":2,S,x", ":2,SF:2,S", ":2,S:2,FR", ":2", ":")
			if name == "" || len(name) > 255 {
				continue
			}
			name = pick("/cur/", "/new/", "/.A/cur/", "/.A/new/") + name
			write(t, root+name, pick("x\nyz", "xy", "", "x\r\nz"))
			made = append(made, name)
		}
		before := texts(t, root)
		_, repaired := run(t, root, true)
		if _, left := run(t, root, true); len(left) > 0 {
			t.Errorf("%q: after the repairs\n%v\nthere is\n%v", made, repaired, left)
		}
		if after := texts(t, root); !slices.Equal(after, before) {
			t.Errorf("%q: the repairs changed mail: %q, before %q", made, after, before)
		}
	}
}

// changed returns when a file, including its name, was last changed.
func changed(t *testing.T, path string) time.Time {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Stat(path, &st))
	return time.Unix(st.Ctim.Unix())
}

// gzipped is "a\nb" as gzip -n writes it.
const gzipped = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xe4\x4a\x02\x00\xfb\x90\x07\xef\x03\x00\x00\x00"

// TestBounded: what a hostile owner leaves neither stops the check nor makes it expensive:
// gigabytes of holes, FIFOs, devices.
func TestBounded(t *testing.T) {
	root := maildir(t)
	const huge = 5 << 30
	for i := range 3 {
		path := fmt.Sprintf("%s/cur/%d.sparse,S=%d,W=%d:2,", root, i, int64(huge), int64(huge)+1)
		write(t, path, "a\n")
		must(t, os.Truncate(path, huge))
	}
	write(t, root+"/cur/9.sparse,S=5,W=5:2,", "a\r\n")
	must(t, os.Truncate(root+"/cur/9.sparse,S=5,W=5:2,", huge))
	for i := range 100 {
		must(t, syscall.Mkfifo(fmt.Sprintf("%s/new/%d.fifo", root, i), 0o600))
	}
	devices := 0
	if os.Geteuid() == 0 {
		if err := syscall.Mknod(root+"/cur/8.zero:2,", syscall.S_IFCHR|0o600, 1<<8|5); err == nil {
			devices = 1
		}
	}
	start := time.Now()
	r, found := run(t, root, false)
	if r.Messages != 4 || r.Findings != 101+devices {
		t.Errorf("%+v; the first is %v", r, found[0])
	}
	t.Logf("20 GiB of holes in %v", time.Since(start))
}
