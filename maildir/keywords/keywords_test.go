package keywords

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// all returns the names in the order of their letters.
func (t *Table) all() []string {
	var names []string
	for _, name := range t.list.names {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(t.TempDir())
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func path(d *dirfd.Dir) string { return filepath.Join(d.Path(), fileName) }

func put(t testing.TB, d *dirfd.Dir, text string) {
	t.Helper()
	must(t, os.WriteFile(path(d), []byte(text), 0o600))
}

func content(t testing.TB, d *dirfd.Dir) string {
	t.Helper()
	text, err := os.ReadFile(path(d))
	must(t, err)
	return string(text)
}

func load(t testing.TB, d *dirfd.Dir) *Table {
	t.Helper()
	table := New(d, true)
	_, err := table.Refresh()
	must(t, err)
	return table
}

// names formats a table as "0=a 5=b".
func names(t *Table) string {
	var out []string
	for i := -1; i <= filename.MaxKeywords; i++ {
		if name, ok := t.Name(i); ok {
			out = append(out, fmt.Sprintf("%d=%s", i, name))
		}
	}
	return strings.Join(out, " ")
}

// TestFormat: what a file means, and what happens to it when a name is added.
func TestFormat(t *testing.T) {
	for _, c := range []struct{ name, file, names, after string }{
		{"empty", "", "", "0 new\n"},
		{"in order", "0 $Forwarded\n1 Junk\n", "0=$Forwarded 1=Junk", "0 $Forwarded\n1 Junk\n2 new\n"},
		{"holes", "1 b\n25 z\n", "1=b 25=z", "0 new\n1 b\n25 z\n"},
		{"any order", "3 d\n0 a\n", "0=a 3=d", "0 a\n1 new\n3 d\n"},
		{"no line end", "0 a\n1 b", "0=a 1=b", "0 a\n1 b\n2 new\n"},
		{"beyond z", "0 a\n26 far\n", "0=a", "0 a\n1 new\n26 far\n"},
		{"no name", "0\n1 \n2 c\n", "2=c", "2 c\n3 new\n0\n1 \n"},
		{"a name twice", "0 Junk\n1 junk\n", "0=Junk", "0 Junk\n2 new\n1 junk\n"},
		{"an index twice", "0 a\n0 b\n", "0=a", "0 a\n1 new\n0 b\n"},
		{"nonsense", "x y\n\n-1 b\n0 a\n", "0=a", "0 a\n1 new\nx y\n-1 b\n"},
		{"names that break a line of IMAP", "0 a b\n1 (x)\n2 \"\n3 a\rb\n4 \\Seen\n5 g\n", "5=g",
			"5 g\n6 new\n0 a b\n1 (x)\n2 \"\n3 a\rb\n4 \\Seen\n"},
		{"CR LF", "0 $Forwarded\r\n1 Junk\r\n5 \r\n", "0=$Forwarded 1=Junk", "0 $Forwarded\n1 Junk\n2 new\n5 \r\n"},
		{"octets beyond ASCII", "0 gr\xc3\xbcn\n1 \xff\n", "0=gr\xc3\xbcn 1=\xff", "0 gr\xc3\xbcn\n1 \xff\n2 new\n"},
		{"Dovecot's unknown letter", "0 unknown-0\n", "0=unknown-0", "0 unknown-0\n1 new\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t)
			put(t, d, c.file)
			table := load(t, d)
			if got := names(table); got != c.names {
				t.Errorf("names %q, want %q", got, c.names)
			}
			_, err := table.Add(0, "new")
			must(t, err)
			if got := content(t, d); got != c.after {
				t.Errorf("the file is\n%swant\n%s", got, c.after)
			}
			if got := names(load(t, d)); got != names(table) {
				t.Errorf("read again as %q, want %q", got, names(table))
			}
		})
	}
}

func TestAdd(t *testing.T) {
	d := openDir(t)
	one, two := New(d, false), New(d, true)
	got, err := one.Add(0, "Work", "$label1", "WORK")
	must(t, err)
	if !slices.Equal(got, []int{0, 1, 0}) {
		t.Errorf("indexes %v", got)
	}
	// Another program's names count, even without a Refresh in between.
	got, err = two.Add(0, "$LABEL1", "Later")
	must(t, err)
	if !slices.Equal(got, []int{1, 2}) || content(t, d) != "0 Work\n1 $label1\n2 Later\n" {
		t.Errorf("indexes %v in\n%s", got, content(t, d))
	}
	if changed, err := one.Refresh(); !changed || err != nil || !slices.Equal(one.all(), []string{"Work", "$label1", "Later"}) {
		t.Errorf("the first reader: %v, %v, %q", changed, err, one.all())
	}
	if changed, err := one.Refresh(); changed || err != nil {
		t.Errorf("news without a change: %v, %v", changed, err)
	}
	// A letter that files have without a name is not assigned.
	got, err = one.Add(filename.Keyword(3)|filename.Keyword(4), "six")
	must(t, err)
	if !slices.Equal(got, []int{5}) {
		t.Errorf("indexes %v", got)
	}
	for _, bad := range []string{"", "a b", "a\nb", "(", "\\Seen", strings.Repeat("x", 300)} {
		if _, err := one.Add(0, "fine", bad); err == nil || errors.Is(err, ErrFull) {
			t.Errorf("added %q: %v", bad, err)
		}
	}
	if _, ok := one.Index("fine"); ok || strings.Contains(content(t, d), "fine") {
		t.Error("half of an Add that failed was done")
	}
}

func TestFull(t *testing.T) {
	d := openDir(t)
	table := New(d, false)
	for i := range 25 {
		_, err := table.Add(0, fmt.Sprint("word", i))
		must(t, err)
	}
	before := content(t, d)
	if _, err := table.Add(0, "last", "one-more"); !errors.Is(err, ErrFull) {
		t.Errorf("27 names: %v", err)
	}
	if content(t, d) != before || len(table.all()) != 25 {
		t.Errorf("an Add that failed changed the file to\n%s", content(t, d))
	}
	_, err := table.Add(0, "last", "WORD3")
	must(t, err)
	if _, err := table.Add(0, "another"); !errors.Is(err, ErrFull) || len(table.all()) != 26 {
		t.Errorf("a name more than 26: %v", err)
	}
}

// TestTimeGrows: Dovecot detects a change by the whole seconds of the file's time.
func TestTimeGrows(t *testing.T) {
	for _, start := range []time.Time{time.Now(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
		d := openDir(t)
		put(t, d, "0 a\n")
		must(t, os.Chtimes(path(d), start, start))
		last := start.Unix()
		table := load(t, d)
		for i := range 5 {
			_, err := table.Add(0, fmt.Sprint("word", i))
			must(t, err)
			st, err := os.Stat(path(d))
			must(t, err)
			if now := st.ModTime().Unix(); now <= last {
				t.Errorf("start %v, change %d: the time was %d and is %d", start, i, last, now)
			} else {
				last = now
			}
		}
	}
}

// TestSeesChanges: even one that leaves size and time unchanged.
func TestSeesChanges(t *testing.T) {
	d := openDir(t)
	table := New(d, false)
	if changed, err := table.Refresh(); changed || err != nil {
		t.Errorf("no file: %v, %v", changed, err)
	}
	at := time.Now()
	for i := range 9 {
		put(t, d, fmt.Sprintf("0 word%d\n", i))
		must(t, os.Chtimes(path(d), at, at))
		changed, err := table.Refresh()
		must(t, err)
		if want := fmt.Sprintf("0=word%d", i); !changed || names(table) != want {
			t.Fatalf("changed %v, names %q, want %q", changed, names(table), want)
		}
	}
	must(t, os.Remove(path(d)))
	if changed, err := table.Refresh(); !changed || err != nil || names(table) != "" {
		t.Errorf("removed: %v, %v, %q", changed, err, names(table))
	}
}

func TestNotRegular(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"FIFO":             func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link to a device": func(p string) error { return os.Symlink("/dev/zero", p) },
		"directory":        func(p string) error { return os.Mkdir(p, 0o700) },
		"5 GB":             func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 5<<30)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			must(t, make(path(d)))
			if _, err := New(d, false).Refresh(); err == nil {
				t.Error("read")
			}
			if _, err := New(d, false).Add(0, "word"); err == nil {
				t.Error("replaced")
			}
		})
	}
	// What is in the way of the new file is removed.
	d := openDir(t)
	must(t, syscall.Mkfifo(filepath.Join(d.Path(), tempName), 0o600))
	_, err := New(d, false).Add(0, "word")
	must(t, err)
}

func FuzzKeywords(f *testing.F) {
	for _, seed := range []string{"", "0 a\n1 b\n", "25 z", "0 a\n0 b\n", "1 A\n2 a\n", "26 x\n", "0 a b\n", "0\n", "00 a\n", "\x00 \x00\n", "1  a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := parse(text)
		seen := map[string]bool{}
		for i, name := range l.names {
			if name == "" {
				continue
			}
			if low := strings.ToLower(name); seen[low] || !validName(name) {
				t.Errorf("name %q of letter %d", name, i)
			} else {
				seen[low] = true
			}
		}
		again := parse(string(l.bytes()))
		if again.names != l.names || !slices.Equal(again.odd, l.odd) {
			t.Errorf("%q is written as %q", text, l.bytes())
		}
	})
}

// TestNameInDoubt: a keyword whose letter could not be made durable is written again before
// it is relied on, because another fsync may wrongly report success.
func TestNameInDoubt(t *testing.T) {
	d := openDir(t)
	var calls []string
	fails := true
	d.Before(func(op, _ string) error {
		calls = append(calls, op)
		if fails && op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	table := New(d, true)
	if _, err := table.Add(0, "word"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	fails = false
	for _, anew := range []bool{true, false} {
		calls = nil
		_, err := table.Add(0, "word")
		must(t, err)
		rename, sync := slices.Index(calls, "rename"), slices.Index(calls, "sync")
		if written := rename >= 0 && sync > rename; written != anew {
			t.Errorf("written anew: %v, want %v: %q", written, anew, calls)
		}
	}
}
