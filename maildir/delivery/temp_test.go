package delivery

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

func TestHostPart(t *testing.T) {
	for host, want := range map[string]string{
		"mail.example.org":       "mail.example.org",
		"a/b:c":                  `a\057b\072c`, // http://cr.yp.to/proto/maildir.html
		"x,S=1":                  `x\054S=1`,    // a comma would start a field
		"new\nline":              `new\012line`,
		"é":                      `\303\251`,
		`back\slash`:             `back\134slash`,
		"":                       "localhost",
		strings.Repeat("h", 500): strings.Repeat("h", longestHost),
	} {
		o := &Options{Host: host}
		if got := o.hostPart(); got != want {
			t.Errorf("host %q: %q, want %q", host, got, want)
		}
		if name := o.UniqueName(); filename.Base(name) != name || filename.Ignored(name) {
			t.Errorf("host %q gives the name %q, which reads as something else", host, name)
		}
	}
}

// TestNamesAscend: names are unique and sort in the order in which they were generated,
// even when the clock stands still or goes back.
func TestNamesAscend(t *testing.T) {
	now := time.Unix(1700000000, 999_999_000)
	o := &Options{Host: "h", PID: 1, Now: func() time.Time { now = now.Add(-time.Microsecond); return now }}
	last := o.UniqueName()
	for range 5 {
		name := o.UniqueName()
		if filename.Compare(last, name) >= 0 {
			t.Errorf("%s was given after %s", name, last)
		}
		last = name
	}
}

// TestRights: files and missing directories inherit the folder's rights.
func TestRights(t *testing.T) {
	f := newFolder(t)
	must(t, os.Chmod(f.path, 0o750))
	s := NewSpool([]Target{f.target("")}, false, newOptions())
	must(t, errors.Join(s.Commit()...))
	for name, want := range map[string]fs.FileMode{"tmp": 0o750, "new": 0o750, "cur": 0o750, "new/" + f.names("new")[0]: 0o640} {
		st, err := os.Stat(filepath.Join(f.path, name))
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), want)
		}
	}
}

// TestDenied: without the right to write there is an error, and nothing is left behind.
func TestDenied(t *testing.T) {
	f := newFolder(t)
	d := f.open()
	defer d.Close()
	must(t, os.Chmod(filepath.Join(f.path, "tmp"), 0o500))
	defer asNobody(t)()
	if _, err := NewTemp(d, newOptions()); !errors.Is(err, fs.ErrPermission) || CauseOf(err) != Trouble {
		t.Errorf("NewTemp: %v, want permission denied", err)
	}
}

func TestTemp(t *testing.T) {
	f := newFolder(t)
	d := f.open()
	defer d.Close()
	o := newOptions()
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	temp, err := NewTemp(d, o)
	must(t, err)
	defer temp.Abort()
	_, err = temp.Write([]byte("a\nb\r\n"))
	must(t, err)
	if _, err := temp.Commit(d.Cur, ":2,"); err == nil {
		t.Error("Commit before Finish worked")
	}
	base, err := temp.Finish(date)
	must(t, err)
	if !finalName.MatchString(base) || !strings.HasSuffix(base, ",S=5,W=6") {
		t.Errorf("base %q", base)
	}
	// Another file has the name already: it is kept.
	must(t, os.WriteFile(filepath.Join(f.path, "cur", base+":2,S"), []byte("other"), 0o600))
	name, err := temp.Commit(d.Cur, ":2,S")
	must(t, err)
	if name == base+":2,S" || !strings.HasSuffix(name, ",S=5,W=6:2,S") {
		t.Errorf("committed as %q after %q was taken", name, base)
	}
	st, err := os.Stat(filepath.Join(f.path, "cur", name))
	must(t, err)
	if !st.ModTime().Equal(date) || st.Size() != 5 {
		t.Errorf("file has %d bytes of %v", st.Size(), st.ModTime())
	}
	temp.Abort()
	if n := len(f.names("cur")); n != 2 {
		t.Errorf("%d files in cur/ after Abort, want 2", n)
	}
	f.checkEmpty("tmp", "new")
}

// TestSameNames: two servers with the same process number and host name, as in containers,
// generate the same name in one microsecond; both files are written.
func TestSameNames(t *testing.T) {
	f := newFolder(t)
	d := f.open()
	defer d.Close()
	now := time.Now()
	for range 2 {
		o := newOptions()
		o.Now = func() time.Time { return now }
		temp, err := NewTemp(d, o)
		must(t, err)
		defer temp.Abort()
	}
	if names := f.names("tmp"); len(names) != 2 {
		t.Errorf("tmp/ holds %q", names)
	}
}

// TestTempChanged: a file in tmp/ that another program modified is not delivered.
func TestTempChanged(t *testing.T) {
	f := newFolder(t)
	d := f.open()
	defer d.Close()
	temp, err := NewTemp(d, newOptions())
	must(t, err)
	_, err = temp.Write([]byte("12345"))
	must(t, err)
	must(t, os.Truncate(filepath.Join(f.path, "tmp", f.names("tmp")[0]), 3))
	if _, err := temp.Finish(time.Time{}); err == nil {
		t.Error("Finish of a file that was cut worked")
	}
	temp.Abort()
	f.checkEmpty("tmp")
}

// TestWholeOrAbsent: a reader that keeps looking at new/ never sees a part of a message,
// and every message arrives once.
func TestWholeOrAbsent(t *testing.T) {
	f := newFolder(t)
	f.open().Close()
	o := newOptions()
	o.Fsync = false
	const writers, messages = 8, 50
	text := strings.Repeat("0123456789abcde\n", 8<<10)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range messages {
				s := NewSpool([]Target{f.target("")}, false, o)
				fill(s, text)
				if err := s.Commit()[0]; err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for end := false; !end; {
		select {
		case <-done:
			end = true
		default:
		}
		for _, name := range f.names("new") {
			st, err := os.Stat(filepath.Join(f.path, "new", name))
			must(t, err)
			if st.Size() != int64(len(text)) {
				t.Fatalf("%s has %d bytes", name, st.Size())
			}
		}
	}
	if n := len(f.names("new")); n != writers*messages {
		t.Errorf("%d messages, want %d", n, writers*messages)
	}
	f.checkEmpty("tmp")
}

func TestCleanTemp(t *testing.T) {
	f := newFolder(t)
	f.open().Close()
	must(t, os.WriteFile(filepath.Join(f.path, "tmp", "left"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(f.path, "tmp", ".dot"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(f.path, "tmp", "dir"), 0o700))
	must(t, os.Symlink("/nowhere", filepath.Join(f.path, "tmp", "link")))
	// The time of the last access or modification means nothing: a message with an old date
	// may just be being written.
	must(t, os.Chtimes(filepath.Join(f.path, "tmp", "left"), time.Unix(1, 0), time.Unix(1, 0)))
	d, err := dirfd.Open(filepath.Join(f.path, "tmp"))
	must(t, err)
	defer d.Close()
	for _, c := range []struct {
		later time.Duration
		want  int
	}{{0, 0}, {35 * time.Hour, 0}, {37 * time.Hour, 2}} {
		n, err := CleanTemp(d, time.Now().Add(c.later))
		if n != c.want || err != nil {
			t.Errorf("after %v: %d removed, %v; want %d", c.later, n, err, c.want)
		}
	}
	if got := strings.Join(f.names("tmp"), " "); got != ".dot dir" {
		t.Errorf("tmp/ holds %s", got)
	}
}
