package uidlist

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
)

const guid = "0123456789abcdef0123456789abcdef"

// TestRead: what each format of the file means, well-formed or not.
func TestRead(t *testing.T) {
	v3 := "3 V17 N1 G" + guid + "\n"
	for _, c := range []struct {
		name, file string
		header     string
		records    []string
		damaged    bool
	}{
		{name: "version 3", file: v3 + "1 :a\n2 S12 W13 :b\n9 Z? :c d\n",
			header: "V17 N10 G" + guid + " ", records: []string{"1 :a", "2 S12 W13 :b", "9 Z? :c d"}},
		{name: "unknown fields in the header", file: "3 P2 V17 N20 Xy G" + guid + "\n4 :a\n",
			header: "V17 N20 G" + guid + " P2 Xy", records: []string{"4 :a"}},
		{name: "no GUID", file: "3 V17 N3\n1 :a\n", header: "V17 N3 G ", records: []string{"1 :a"}},
		{name: "version 1", file: "1 17 30\n3 a\n5 b c:2,S\n",
			header: "V17 N30 G ", records: []string{"3 :a", "5 :b c"}},
		{name: "flags that do not belong", file: v3 + "1 :a:2,S\n", header: "V17 N2 G" + guid + " ", records: []string{"1 :a"}},
		{name: "only a header", file: v3, header: "V17 N1 G" + guid + " "},
		{name: "unfinished line", file: v3 + "1 :a\n7 :b", header: "V17 N8 G" + guid + " ", records: []string{"1 :a"}},
		{name: "unfinished UID", file: v3 + "1 :a\n7", header: "V17 N2 G" + guid + " ", records: []string{"1 :a"}},
		{name: "nonsense between", file: v3 + "1 :a\nx\n\n2\n2 \n2 S1\n2 :\n2 :a/b\n-2 :b\n4294967295 :b\n99999999999999 :b\n0 :b\n3 :c\n",
			header: "V17 N4 G" + guid + " ", records: []string{"1 :a", "3 :c"}, damaged: true},
		{name: "a malformed last line", file: v3 + "1 :a\n9 :b\x00c\n", header: "V17 N10 G" + guid + " ", records: []string{"1 :a"}, damaged: true},
		{name: "NULs before a line", file: v3 + "1 :a\n\x00\x00\x002 :b\n", header: "V17 N3 G" + guid + " ",
			records: []string{"1 :a", "2 :b"}, damaged: true},
		{name: "out of order", file: v3 + "5 :e\n1 :a\n9 S1 :i\n3 :c\n", header: "V17 N10 G" + guid + " ",
			records: []string{"1 :a", "3 :c", "5 :e", "9 S1 :i"}, damaged: true},
		{name: "a UID twice", file: v3 + "1 :a\n2 :b\n2 :c\n2 :d\n4 :d\n", header: "V17 N5 G" + guid + " ",
			records: []string{"1 :a", "2 :b", "4 :d"}, damaged: true},
		{name: "a high UID among low ones", file: v3 + "1 :a\n4000000000 :x\n2 :b\n", header: "V17 N4000000001 G" + guid + " ",
			records: []string{"1 :a", "2 :b", "4000000000 :x"}, damaged: true},
		{name: "a line that is too long", file: v3 + "1 :a\n2 :" + strings.Repeat("b", maxLine) + "\n3 :c\n",
			header: "V17 N4 G" + guid + " ", records: []string{"1 :a", "3 :c"}, damaged: true},
		{name: "a name that is too long", file: v3 + "2 :" + strings.Repeat("b", 256) + "\n3 :" + strings.Repeat("c", 255) + "\n",
			header: "V17 N4 G" + guid + " ", records: []string{"3 :" + strings.Repeat("c", 255)}, damaged: true},
		{name: "a record on an unfinished line", file: v3 + "1 :a\n12 :1700.M13 W7 :1701.M5\n",
			header: "V17 N14 G" + guid + " ", records: []string{"1 :a", "12 :1700.M13 W7 "}, damaged: true},
		{name: "a record on an unfinished line, digits before", file: v3 + "12 S1 :17000013 :1701.M5\n",
			header: "V17 N14 G" + guid + " ", records: []string{"12 S1 :17000013 "}, damaged: true},
		{name: "a colon in a name", file: v3 + "12 :a :2,S\n",
			header: "V17 N13 G" + guid + " ", records: []string{"12 :a "}},
		{name: "no next UID", file: "3 V17 G" + guid + "\n4 :a\n", header: "V17 N5 G" + guid + " ", records: []string{"4 :a"}, damaged: true},
		{name: "a GUID that is none", file: "3 V17 N1 Gabc\n4 :a\n", header: "V17 N5 G ", records: []string{"4 :a"}, damaged: true},
		{name: "empty", file: "", header: "V0 N0 G ", damaged: true},
		{name: "NULs", file: strings.Repeat("\x00", 4096), header: "V0 N0 G ", damaged: true},
		{name: "unfinished header", file: "3 V17 N1", header: "V0 N0 G ", damaged: true},
		{name: "CR LF", file: strings.ReplaceAll(v3+"1 :a\n2 S12 :b:2,S\n9 Z? :c d\n", "\n", "\r\n"),
			header: "V17 N10 G" + guid + " ", records: []string{"1 :a", "2 S12 :b", "9 Z? :c d"}},
		{name: "CR LF, version 1", file: "1 17 30\r\n3 a\r\n5 b\n", header: "V17 N30 G ", records: []string{"3 :a", "5 :b"}},
		{name: "a CR too many", file: v3 + "1 :a\r\r\n2 :b\rc\n", header: "V17 N3 G" + guid + " ", records: []string{"2 :b\rc"}, damaged: true},
		{name: "no UIDVALIDITY", file: "3 N12 G" + guid + "\n1 :a\n", header: "V0 N0 G ", damaged: true},
		{name: "other version", file: "2 17 12\n1 a\n", header: "V0 N0 G ", damaged: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t)
			put(t, d, c.file)
			f := open(d)
			change, got := f.refresh(t)
			if change != Replaced || !slices.Equal(got, c.records) {
				t.Errorf("%v with %q, want %q", change, got, c.records)
			}
			if h := f.Header().String(); h != c.header {
				t.Errorf("header %s, want %s", h, c.header)
			}
			if logged := f.log.Len() > 0; logged != c.damaged || f.damaged != c.damaged {
				t.Errorf("damaged %v, want %v; logged %q", f.damaged, c.damaged, &f.log)
			}
			if strings.Count(f.log.String(), "\n") > 1 {
				t.Errorf("more than a line logged:\n%s", &f.log)
			}
			if change, got := f.refresh(t); change != Unchanged || len(got) > 0 {
				if f.Header().UIDValidity != 0 {
					t.Errorf("a second look: %v with %q", change, got)
				}
			}
		})
	}
}

// TestFollow: what a reader finds when others change the file.
func TestFollow(t *testing.T) {
	d := openDir(t)
	f := open(d)
	want := func(what string, change Change, next uint32, records ...string) {
		t.Helper()
		got, list := f.refresh(t)
		if got != change || !slices.Equal(list, records) || f.Header().NextUID != next {
			t.Errorf("%s: %v, next UID %d, %q; want %v, %d, %q", what, got, f.Header().NextUID, list, change, next, records)
		}
	}
	head := "3 V17 N1 G" + guid + "\n"
	want("no file", Missing, 0)
	put(t, d, head+"1 :a\n")
	want("a file", Replaced, 2, "1 :a")
	want("nothing", Unchanged, 2)
	add(t, d, "2 :b\n3 :c\n4 ")
	want("two lines and a piece", Appended, 5, "2 :b", "3 :c")
	want("nothing", Unchanged, 5)
	add(t, d, "W9 :d")
	want("another piece", Unchanged, 5)
	add(t, d, "d\n")
	want("the end of it", Appended, 5, "4 W9 :dd")
	// The old file is replaced by one with the same size and time, as by a restore.
	st, err := os.Stat(filepath.Join(d.Path(), Name))
	must(t, err)
	now := content(t, d)
	must(t, os.Remove(filepath.Join(d.Path(), Name)))
	put(t, d, strings.Replace(now, "2 :b", "2 :B", 1))
	must(t, os.Chtimes(filepath.Join(d.Path(), Name), st.ModTime(), st.ModTime()))
	if inode(t, d) != st.Sys().(*syscall.Stat_t).Ino {
		want("another file", Replaced, 5, "1 :a", "2 :B", "3 :c", "4 W9 :dd")
	}
	put(t, d, head+"1 :a\n7 :g\n")
	want("written anew in place", Replaced, 8, "1 :a", "7 :g")
	put(t, d, head+"1 :a\n")
	want("truncated", Replaced, 8, "1 :a")
	if !f.damaged || !strings.Contains(f.log.String(), "went back") {
		t.Errorf("a next UID that went back is not worth a word: %s", &f.log)
	}
	put(t, d, "3 V18 N3 G"+guid+"\n")
	want("a new UIDVALIDITY", Replaced, 3)
	add(t, d, "9 :i\n5 :e\n")
	want("appended out of order", Replaced, 10, "5 :e", "9 :i")
	must(t, os.Remove(filepath.Join(d.Path(), Name)))
	want("removed", Missing, 10)
	if h := f.Header(); h.UIDValidity != 0 || h.GUID != guid {
		t.Errorf("header of a list that is gone: %s", h)
	}
}

func inode(t testing.TB, d *dirfd.Dir) uint64 {
	st, err := d.Lstat(Name)
	must(t, err)
	return st.Ino
}

// TestSameTick: a change that leaves size and time unchanged is found while the clock has
// not advanced beyond that time, if it changes the last line.
func TestSameTick(t *testing.T) {
	d := openDir(t)
	at := time.Now()
	f := New(d, Options{Now: func() time.Time { return at }})
	for i := range 20 {
		put(t, d, fmt.Sprintf("3 V17 N1 G%s\n1 :a\n2 :b%02d\n", guid, i))
		must(t, os.Chtimes(filepath.Join(d.Path(), Name), at, at))
		n := 0
		change, err := f.Refresh(func(Record) { n++ })
		must(t, err)
		if change != Replaced || n != 2 {
			t.Fatalf("change %d: %v with %d records", i, change, n)
		}
	}
}

// TestNotRegular: anything but a file is refused at once.
func TestNotRegular(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"FIFO":             func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link to a device": func(p string) error { return os.Symlink("/dev/zero", p) },
		"link to a file":   func(p string) error { return os.Symlink("/etc/passwd", p) },
		"directory":        func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			must(t, make(filepath.Join(d.Path(), Name)))
			f := open(d)
			_, err := f.Refresh(func(r Record) { t.Errorf("read %+v", r) })
			if !errors.Is(err, dirfd.ErrNotRegular) || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("Refresh: %v", err)
			}
			if v := ValidityOf(d); v != 0 {
				t.Errorf("UIDVALIDITY %d", v)
			}
		})
	}
}

// TestNoDescriptors: nobody is told to discard a list that is sound.
func TestNoDescriptors(t *testing.T) {
	d := openDir(t)
	put(t, d, "3 V17 N1\n")
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}))
	_, err := open(d).Refresh(func(Record) {})
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if !errors.Is(err, syscall.EMFILE) || strings.Contains(err.Error(), "move it away") {
		t.Errorf("Refresh: %v", err)
	}
}

// TestTooLarge: a sparse file of 5 GB costs nothing.
func TestTooLarge(t *testing.T) {
	d := openDir(t)
	put(t, d, "3 V17 N1\n")
	must(t, os.Truncate(filepath.Join(d.Path(), Name), 5<<30))
	if _, err := open(d).Refresh(func(Record) {}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("Refresh: %v", err)
	}
}
