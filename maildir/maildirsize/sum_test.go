package maildirsize

import (
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
)

func openRoot(t testing.TB) (*dirfd.Dir, string) {
	path := t.TempDir()
	root, err := dirfd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, filepath.Join(path, name)
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		text            string
		limit           Limit
		bytes, messages int64
		damaged         bool
	}{
		"Dovecot's":        {"10000S,20C\n        300 2\n-100 -1\n", Limit{10000, 20}, 200, 1, false},
		"no limit":         {"\n5 1\n", Limit{}, 5, 1, false},
		"unknown resource": {"7X,20C\n5 1\n", Limit{0, 20}, 5, 1, false},
		"negative limit":   {"-7S\n5 1\n", Limit{}, 5, 1, false},
		"no sum":           {"10000S\n", Limit{10000, 0}, 0, 0, true},
		"negative sum":     {"10000S\n5 1\n-6 -1\n", Limit{10000, 0}, -1, 0, true},
		"torn":             {"10000S\n5 1\n6 ", Limit{10000, 0}, 5, 1, true},
		"torn number":      {"10000S\n5 1\n6 1", Limit{10000, 0}, 5, 1, true},
		"torn first line":  {"10000S", Limit{10000, 0}, 0, 0, true},
		"words":            {"10000S\nfive one\n", Limit{10000, 0}, 0, 0, true},
		"too big":          {"10000S\n99999999999999999999 1\n", Limit{10000, 0}, 0, 0, true},
		"empty":            {"", Limit{}, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			root, path := openRoot(t)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Read(root)
			if s.Limit != c.limit || s.Bytes != c.bytes || s.Messages != c.messages || errors.Is(err, ErrDamaged) != c.damaged || err != nil && !c.damaged {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestReadWrite(t *testing.T) {
	root, path := openRoot(t)
	if _, err := Read(root); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, limit := range []Limit{{1 << 40, 1000}, {0, 5}, {7, 0}} {
		if err := Write(root, limit, 12, 3); err != nil {
			t.Fatal(err)
		}
		if err := Add(root, -2, -1); err != nil {
			t.Fatal(err)
		}
		if s, err := Read(root); err != nil || s.Limit != limit || s.Bytes != 10 || s.Messages != 2 || s.Lines != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// Nobody can make us read another file, or an endless one.
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(root); !errors.Is(err, ErrDamaged) {
		t.Errorf("a symbolic link: %v", err)
	}
	if err := Write(root, Limit{5, 5}, 1, 1); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("5S\n"+strings.Repeat("1 1\n", maxFile/4)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(root); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file of more than a megabyte: %v", err)
	}
}

// FuzzRead: whatever the file contains, the sum is that of its lines.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"", "10000S,20C\n300 2\n-100 -1\n", "S,C,,\n1 1\n", "5S\n1 1", "\x00\n\xff 1\n",
		"\n9223372036854775807 1\n9223372036854775807 1\n10 1\n", // the sum is 8 in 64 bits
	} {
		f.Add(text)
	}
	root, path := openRoot(f)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Read(root)
		if s.Limit.Bytes < 0 || s.Limit.Messages < 0 || parseLimit(s.Limit.String()) != s.Limit {
			t.Errorf("limit %+v", s.Limit)
		}
		if err != nil && !errors.Is(err, ErrDamaged) && len(text) <= maxFile {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		size, messages := new(big.Int), new(big.Int)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:]
		for _, line := range lines {
			f := strings.Fields(line)
			a, ok := new(big.Int).SetString(f[0], 10)
			b, also := new(big.Int).SetString(f[1], 10)
			if !ok || !also || len(f) != 2 {
				t.Fatalf("%q is taken", line)
			}
			size.Add(size, a)
			messages.Add(messages, b)
		}
		if !size.IsInt64() || size.Int64() != s.Bytes || !messages.IsInt64() || messages.Int64() != s.Messages || len(lines) != s.Lines || s.Lines == 0 {
			t.Errorf("%+v, where the lines say %v and %v", s, size, messages)
		}
	})
}
