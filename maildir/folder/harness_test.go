package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/dirfd"
)

// testTree makes a Maildir whose entries are described as strings: "a/b/" is a directory
// with those above it, "a -> b" a symbolic link, "a|" a FIFO, "a = text" a file.
func testTree(t testing.TB, opt Options, entries ...string) (*Tree, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "m")
	place(t, root, append([]string{"cur/", "new/", "tmp/"}, entries...)...)
	return openTree(t, root, opt), root
}

func openTree(t testing.TB, root string, opt Options) *Tree {
	t.Helper()
	d, err := dirfd.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	tree, err := NewTree(d, opt)
	must(t, err)
	return tree
}

func place(t testing.TB, root string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		var err error
		if name, target, ok := strings.Cut(e, " -> "); ok {
			err = os.Symlink(target, filepath.Join(root, name))
		} else if name, text, ok := strings.Cut(e, " = "); ok {
			err = os.WriteFile(filepath.Join(root, name), []byte(text), 0o600)
		} else if name, ok := strings.CutSuffix(e, "|"); ok {
			err = syscall.Mkfifo(filepath.Join(root, name), 0o600)
		} else {
			err = os.MkdirAll(root+"/"+strings.TrimSuffix(e, "/"), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// brief formats a listing as lines: the name, then in brackets N for NoSelect, X for
// NonExistent, C for HasChildren, S for Subscribed, and attributes.
func brief(t testing.TB, tree *Tree) []string {
	t.Helper()
	entries, err := tree.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		marks := ""
		for _, m := range []struct {
			on   bool
			mark string
		}{{e.NoSelect, "N"}, {e.NonExistent, "X"}, {e.HasChildren, "C"}, {e.Subscribed, "S"}} {
			if m.on {
				marks += m.mark
			}
		}
		for _, use := range e.SpecialUse {
			marks += use
		}
		if marks != "" {
			marks = " [" + marks + "]"
		}
		out = append(out, e.Name+marks)
	}
	return out
}

func wantList(t testing.TB, tree *Tree, want ...string) {
	t.Helper()
	if got := brief(t, tree); !slices.Equal(got, want) {
		t.Errorf("listing is\n  %q\nwant\n  %q", got, want)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opens returns the error of OpenDir for a name.
func opens(tree *Tree, name string) error {
	d, err := tree.OpenDir(name)
	if err != nil {
		return err
	}
	return d.Close()
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

var (
	ppSlash   = Options{Layout: LayoutMaildirPP, Separator: '/'}
	ppDot     = Options{Layout: LayoutMaildirPP, Separator: '.'}
	ppCourier = Options{Layout: LayoutMaildirPP, Separator: '.', Prefix: "INBOX."}
	fsSlash   = Options{Layout: LayoutFS, Separator: '/'}
	fsDot     = Options{Layout: LayoutFS, Separator: '.'}
	fsCourier = Options{Layout: LayoutFS, Separator: '.', Prefix: "INBOX."}
	fsPrefix  = Options{Layout: LayoutFS, Separator: '/', Prefix: "Mail/"}
)

var allOptions = map[string]Options{
	"maildir++ slash": ppSlash, "maildir++ dot": ppDot, "maildir++ INBOX.": ppCourier,
	"fs slash": fsSlash, "fs dot": fsDot, "fs INBOX.": fsCourier, "fs Mail/": fsPrefix,
}
