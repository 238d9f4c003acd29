package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/walk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// maildirWith creates a Maildir with these files, in this order, each with a different file
// time. A text that consists of digits is a file of that size.
func maildirWith(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, sub := range walk.MailDirs {
		must(t, os.MkdirAll(filepath.Join(root, sub), 0o700))
	}
	var last time.Time
	for _, f := range files {
		name, text, _ := strings.Cut(f, "|")
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		for { // the clock of files stands still for a tick, on a busy machine for longer
			must(t, os.Chtimes(path, time.Time{}, time.Unix(1700000000, 0)))
			var st syscall.Stat_t
			must(t, syscall.Stat(path, &st))
			if at := time.Unix(st.Ctim.Unix()); at.After(last) {
				last = at
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return root
}

// gzipped is "a\nb" as gzip -n writes it.
const gzipped = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xe4\x4a\x02\x00\xfb\x90\x07\xef\x03\x00\x00\x00"

func messages(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(root, sub))
		must(t, err)
		for _, e := range entries {
			found = append(found, sub+"/"+e.Name())
		}
	}
	return found
}

func restore(t *testing.T, root string, dry bool) (Result, []string) {
	t.Helper()
	var told []string
	var done []int
	r, err := Run(t.Context(), Options{
		Progress: func(n, total int) { done = append(done, n, total) },
		Root:     root, DryRun: dry, Locker: dotlock.NewLocker(""), Delivery: &delivery.Options{Host: "host", PID: os.Getpid()},
		Tell: func(c Change) { told = append(told, c.Folder+": "+c.Text) },
	})
	must(t, err)
	for i := range done { // of each directory, before it is looked at
		if total := len(done) / 2; done[i] != []int{i / 2, total}[i%2] {
			t.Errorf("progress %d", done)
			break
		}
	}
	if len(done) == 0 {
		t.Error("no progress was reported")
	}
	return r, told
}

// TestMerge: a message with several names keeps the one that was given last, and none is
// renumbered; parts of a copy are set aside; different messages are all kept. A dry run
// reports the same and changes nothing.
func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  []string // bases of new names are given as "*"
		aside []string
		tally Result
	}{
		{"seen later", []string{"cur/1.a:2,|x", "cur/1.a:2,S|x"}, []string{"cur/1.a:2,S"}, nil, Result{Merged: 1}},
		{"a flag taken away later", []string{"cur/1.a:2,FS|x", "cur/1.a:2,S|x"}, []string{"cur/1.a:2,S"}, nil, Result{Merged: 1}},
		{"from new to cur", []string{"new/1.a|x", "cur/1.a:2,|x"}, []string{"cur/1.a:2,"}, nil, Result{Merged: 1}},
		{"five names", []string{"new/1.a|x", "cur/1.a:2,|x", "cur/1.a:2,S|x", "cur/1.a:2,RS|x", "cur/1.a:2,RSa|x", "cur/2.b:2,|y"},
			[]string{"cur/1.a:2,RSa", "cur/2.b:2,"}, nil, Result{Merged: 4}},
		{"a part of it, older", []string{"cur/1.a,S=4:2,|xy", "cur/1.a,S=4:2,S|wxyz"}, []string{"cur/1.a,S=4:2,S"},
			[]string{"1.a,S=4:2,"}, Result{SetAside: 1}},
		{"a part of it, younger", []string{"cur/1.a,S=4:2,S|wxyz", "cur/1.a,S=4:2,|xy"}, []string{"cur/1.a,S=4:2,S"},
			[]string{"1.a,S=4:2,"}, Result{SetAside: 1}},
		{"a part of a compressed one", []string{"cur/1.a,S=3:2,|" + gzipped[:20], "cur/1.a,S=3:2,S|" + gzipped}, []string{"cur/1.a,S=3:2,S"},
			[]string{"1.a,S=3:2,"}, Result{SetAside: 1}},
		{"compressed later", []string{"cur/1.a,S=3:2,|a\nb", "cur/1.a,S=3:2,SZ|" + gzipped}, []string{"cur/1.a,S=3:2,SZ"}, nil, Result{Merged: 1}},
		{"compressed, and another text", []string{"cur/1.a,S=3:2,|c\nd", "cur/1.a,S=3:2,S|" + gzipped}, []string{"cur/*:2,", "cur/*:2,S"}, nil, Result{Renamed: 2}},
		{"two messages", []string{"cur/1.a:2,|xxx", "cur/1.a:2,S|yyy"}, []string{"cur/*:2,", "cur/*:2,S"}, nil, Result{Renamed: 2}},
		{"nothing to do", []string{"cur/1.a:2,|x", "new/2.b|x"}, []string{"new/2.b", "cur/1.a:2,"}, nil, Result{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildirWith(t, c.files...)
			before := messages(t, root)
			dry, wouldTell := restore(t, root, true)
			if now := messages(t, root); !slices.Equal(now, before) {
				t.Fatalf("the dry run changed the files: %q", now)
			}
			got, told := restore(t, root, false)
			c.tally.Folders = 1
			if got != c.tally || dry != c.tally || !slices.Equal(told, wouldTell) {
				t.Errorf("done %+v, the dry run %+v, want %+v\n%q\n%q", got, dry, c.tally, told, wouldTell)
			}
			after := messages(t, root)
			for i, name := range after {
				if c.tally.Renamed > 0 && !slices.Contains(c.want, name) {
					_, info, _ := strings.Cut(name, ":")
					after[i] = "cur/*:" + info
				}
			}
			slices.Sort(after)
			slices.Sort(c.want)
			if !slices.Equal(after, c.want) {
				t.Errorf("left are %q, want %q", after, c.want)
			}
			for _, name := range c.aside {
				if _, err := os.Stat(filepath.Join(root, "maildird-quarantine/INBOX", name)); err != nil {
					t.Error(err)
				}
			}
			if again, told := restore(t, root, false); again.Merged+again.SetAside+again.Renamed > 0 {
				t.Errorf("a second run found %+v: %q", again, told)
			}
		})
	}
}

// TestVouch: UIDs that clients may know are not assigned again, and those in the list are
// kept, unless the list is damaged.
func TestVouch(t *testing.T) {
	const guid = " G0123456789abcdef0123456789abcdef\n"
	for _, c := range []struct {
		name, list string
		next       uint32 // 0: a new UIDVALIDITY
		records    string
	}{
		{"sound", "3 V1600000000 N3" + guid + "1 :1.a\n5 :2.b\n", 6 + 1<<20 + 1, "1 :1.a\n5 :2.b\n"},
		{"version 1", "1 1600000000 3\n1 1.a\n5 2.b\n", 6 + 1<<20 + 1, "1 :1.a\n5 :2.b\n"},
		{"unfinished last line", "3 V1600000000 N3" + guid + "1 :1.a\n5 :2.b\n9 :3", 10 + 1<<20 + 1, "1 :1.a\n5 :2.b\n"},
		{"damaged", "3 V1600000000 N3" + guid + "1 :1.a\n\x00\x00\xff\n5 :2.b\n", 0, "1 :1.a\n5 :2.b\n"},
		{"no first line", "1 :1.a\n", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maildirWith(t, "dovecot-uidlist|"+c.list, "cur/1.a:2,|x", "cur/2.b:2,|y", "new/3.c|z", "cur/.nfs1|not mail")
			restore(t, root, true)
			if text, err := os.ReadFile(filepath.Join(root, "dovecot-uidlist")); err != nil || string(text) != c.list {
				t.Fatalf("the dry run changed the list: %q, %v", text, err)
			}
			restore(t, root, false)
			text, err := os.ReadFile(filepath.Join(root, "dovecot-uidlist"))
			must(t, err)
			first, rest, _ := strings.Cut(string(text), "\n")
			var validity, next uint32
			if _, err := fmt.Sscanf(first, "3 V%d N%d", &validity, &next); err != nil {
				t.Fatalf("first line %q: %v", first, err)
			}
			if c.next != 0 && (validity != 1600000000 || next != c.next) || c.next == 0 && validity <= uint32(time.Now().Unix()) {
				t.Errorf("first line %q, want UIDNEXT %d", first, c.next)
			}
			if rest != c.records {
				t.Errorf("records %q, want %q", rest, c.records)
			}
		})
	}
}

// TestNotARoot: a directory that contains the Maildirs of users is not mistaken for one.
func TestNotARoot(t *testing.T) {
	users := t.TempDir()
	root := filepath.Join(users, "example.org", "alice")
	must(t, os.MkdirAll(filepath.Dir(root), 0o700))
	must(t, os.Rename(maildirWith(t, "cur/1.a:2,|one", "dovecot-uidlist|3 V1600000000 N2\n1 :1.a\n"), root))
	for _, dir := range []string{users, filepath.Dir(root)} {
		_, err := Run(t.Context(), Options{Root: dir, Locker: dotlock.NewLocker(""), Delivery: &delivery.Options{Host: "host", PID: os.Getpid()}})
		if err == nil || !strings.Contains(err.Error(), "is not a Maildir") {
			t.Errorf("%s: %v", dir, err)
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("%s has %v", dir, entries)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "dovecot-uidlist"))
	must(t, err)
	if !strings.HasPrefix(string(text), "3 V1600000000 N2\n") {
		t.Errorf("the list of a Maildir further down was changed: %q", text)
	}
	// Dovecot's layout fs can have INBOX elsewhere.
	must(t, os.WriteFile(filepath.Join(users, "subscriptions"), nil, 0o600))
	if _, told := restore(t, users, false); len(told) != 1 || !strings.Contains(told[0], "raised UIDNEXT") {
		t.Errorf("a root without INBOX: %q", told)
	}
}

// TestLockIsRenewed: while many messages are merged, nobody takes the lock for one that was left.
func TestLockIsRenewed(t *testing.T) {
	var files []string
	for i := range 17 {
		files = append(files, fmt.Sprintf("cur/%02d.a:2,|x", i), fmt.Sprintf("cur/%02d.a:2,S|x", i))
	}
	root := maildirWith(t, files...)
	synctest.Test(t, func(t *testing.T) { testLockIsRenewed(t, root) })
}

func testLockIsRenewed(t *testing.T, root string) {
	n, renewed := 0, false
	_, err := Run(t.Context(), Options{
		Root: root, Locker: dotlock.NewLocker(""), Delivery: &delivery.Options{Host: "host", PID: os.Getpid()},
		Tell: func(Change) {
			n++
			if n == 16 {
				time.Sleep(lockStale)
			}
			st, err := os.Stat(filepath.Join(root, "dovecot-uidlist.lock"))
			must(t, err)
			renewed = st.ModTime().Equal(time.Now())
		},
	})
	must(t, err)
	if n != 17 || !renewed {
		t.Errorf("%d changes, lock renewed: %t", n, renewed)
	}
}
