package folder

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/uidlist"
	"maildird/scripts/rig/failing"
)

var flagFaults = flag.Bool("faults", false, "have TestFaults try every error at every call")

// faultyOp is a change of a tree, and the listing after it.
type faultyOp struct {
	name    string
	do      func(*testing.T, *Tree) error
	listing func(before []string) []string
	durable map[string][]string // by layout, what has to be so after it
	kept    bool                // a change that cannot be made durable stays
}

func with(names ...string) func([]string) []string {
	return func(before []string) []string {
		return slices.Sorted(slices.Values(append(slices.Clone(before), names...)))
	}
}

func without(from, to string) func([]string) []string {
	return func(before []string) (after []string) {
		for _, line := range before {
			if line != from || to != "" {
				after = append(after, strings.Replace(line, from, to, 1))
			}
		}
		slices.Sort(after)
		return after
	}
}

var faultyOps = []faultyOp{
	{"Create", func(t *testing.T, tree *Tree) error { return tree.Create(t.Context(), "N", nil) }, with("N"),
		map[string][]string{"pp": {".N", ".N/cur", ".N/new", ".N/tmp"}, "fs": {"N", "N/cur", "N/new", "N/tmp"}}, false},
	{"Create with an attribute", func(t *testing.T, tree *Tree) error { return tree.Create(t.Context(), "N", []string{`\Sent`}) }, with(`N [\Sent]`),
		map[string][]string{"pp": {".N", ".N/cur", specialUseFile}, "fs": {"N", "N/cur", specialUseFile}}, false},
	{"Create below", func(t *testing.T, tree *Tree) error { return tree.Create(t.Context(), "A/N", nil) }, with("A/N"),
		map[string][]string{"pp": {".A.N", ".A.N/cur"}, "fs": {"A/N", "A/N/cur"}}, false},
	{"Delete", func(t *testing.T, tree *Tree) error { return tree.Delete(t.Context(), "D") }, without("D", ""), nil, false},
	{"Rename", func(t *testing.T, tree *Tree) error { return tree.Rename(t.Context(), "A", "R") },
		func(before []string) []string {
			return without("A [C\\Archive]", "R [C\\Archive]")(without("A/B", "R/B")(before))
		},
		map[string][]string{"pp": {".R", ".R.B", specialUseFile}, "fs": {"R", specialUseFile}}, false},
	{"subscribe", func(t *testing.T, tree *Tree) error { return tree.SetSubscribed(t.Context(), "D", true) }, without("D", "D [S]"),
		map[string][]string{"pp": {"subscriptions"}, "fs": {"subscriptions"}}, true},
	{"unsubscribe", func(t *testing.T, tree *Tree) error { return tree.SetSubscribed(t.Context(), "E", false) }, without("E [S]", "E"),
		map[string][]string{"pp": {"subscriptions"}, "fs": {"subscriptions"}}, true},
	{"SetSpecialUse", func(t *testing.T, tree *Tree) error { return tree.SetSpecialUse(t.Context(), "D", []string{`\Junk`}) }, without("D", `D [\Junk]`),
		map[string][]string{"pp": {specialUseFile}, "fs": {specialUseFile}}, true},
	{"open what is not whole", func(t *testing.T, tree *Tree) error {
		d, err := tree.OpenDir("E")
		if err == nil {
			err = d.Close()
		}
		return err
	}, func(before []string) []string { return before },
		map[string][]string{"pp": {".E/cur", ".E/new", ".E/tmp"}, "fs": {"E/cur", "E/new", "E/tmp"}}, false},
}

func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// faultOf makes a change in which a call fails, and returns the number of its calls.
func faultOf(t *testing.T, layout string, opt Options, op *faultyOp, first int, lasting bool, reason error) int {
	opt.Fsync = true
	path := filepath.Join(failing.Dir(t), "m")
	place(t, path, "cur/", "new/", "tmp/")
	plain := openTree(t, path, opt)
	for _, name := range []string{"A", "A/B", "D", "E"} {
		must(t, plain.Create(t.Context(), name, map[string][]string{"A": {`\Archive`}}[name]))
	}
	must(t, plain.SetSubscribed(t.Context(), "E", true))
	high := uint32(4_000_000_000)
	for _, name := range []string{"D", "E"} {
		d, err := plain.OpenDir(name)
		must(t, err)
		must(t, uidlist.New(d, uidlist.Options{}).Rewrite(uidlist.Header{UIDValidity: high}, func(func(uidlist.Record) bool) {}))
		if name == "E" {
			must(t, errors.Join(d.RemoveDir("tmp"), d.RemoveDir("new")))
		}
		must(t, d.Close())
	}
	before := brief(t, plain)
	want := op.listing(before)
	c := failing.New(path)
	root, err := dirfd.Open(path)
	must(t, err)
	defer root.Close()
	root.Before(c.Before)
	tree, err := NewTree(root, opt)
	must(t, err)
	tree.stale, tree.lock, tree.file, tree.young = 0, time.Second, time.Second, 0
	c.Begin(first, lasting, reason)
	err = op.do(t, tree)
	calls, failed := c.End()
	defer func() {
		if t.Failed() {
			t.Logf("answer: %v\nfailed: %q\ncalls:\n%s", err, failed, c.Log())
		}
	}()
	if len(failed) == 0 && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	// If nothing can be removed either, what could not be made durable stays.
	stuck := lasting && op.name == "open what is not whole"
	done := func(when string) {
		t.Helper()
		for _, rel := range op.durable[layout] {
			dir, name := filepath.Split(filepath.Join(path, rel))
			if names := c.Missing(filepath.Clean(dir), name); len(names) > 0 && !stuck {
				t.Errorf("%s, but not durable: %s", when, names)
			}
		}
		if op.name == "Delete" {
			if n, err := uidlist.NextValidity(plain.root, time.Now(), false); err != nil || n <= high {
				t.Errorf("%s, and another one may get UIDVALIDITY %d (%v), that one had %d", when, n, err, high)
			}
		}
	}
	after := brief(t, plain)
	switch {
	case err == nil || errors.Is(err, ErrLeftover):
		if !same(after, want) {
			t.Errorf("done, and the listing is\n%q, want\n%q", after, want)
		}
		if err == nil && op.name != "Rename" { // the file with the attributes has more than it needs until later
			done("done")
		}
	case same(after, want) && (op.kept || lasting):
	case !same(after, before) && !lasting:
		t.Errorf("after %v the listing is\n%q, before\n%q", err, after, before)
	}
	if err != nil && (!errors.Is(err, reason) && !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path)) {
		t.Errorf("the error does not tell what is wrong: %v", err)
	}
	if err != nil && (same(after, before) || op.kept) {
		if err := op.do(t, tree); err != nil {
			t.Errorf("again: %v", err)
		}
		if after := brief(t, plain); !same(after, want) {
			t.Errorf("again: the listing is\n%q, want\n%q", after, want)
		}
		done("done again")
	}
	must(t, tree.Create(t.Context(), "after", []string{`\Drafts`}))
	must(t, tree.Delete(t.Context(), "after"))
	for _, pattern := range []string{"*.lock*", trashName, "*.tmp*", "*/*.lock"} {
		if left, _ := filepath.Glob(filepath.Join(path, pattern)); len(left) > 0 && !lasting {
			t.Errorf("left behind: %q", left)
		}
	}
	return calls
}

// TestFaults: whichever system call of a change fails, once or with all subsequent calls,
// either the change is not made, or what was made of it is reported, and it can be made
// once the fault has ended.
func TestFaults(t *testing.T) {
	for layout, opt := range map[string]Options{"pp": ppSlash, "fs": fsSlash} {
		for i := range faultyOps {
			op := &faultyOps[i]
			calls := faultOf(t, layout, opt, op, -1, false, nil)
			for first := range calls {
				for r, reason := range failing.Reasons {
					for n, lasting := range []bool{false, true} {
						if reason == syscall.EACCES { // a file that may not be read counts as missing
							continue
						}
						if !*flagFaults && (r != 0 || n != first%2) {
							continue
						}
						t.Run(fmt.Sprintf("%s/%s/%d, %v, lasting %v", op.name, layout, first, reason, lasting), func(t *testing.T) {
							t.Parallel()
							faultOf(t, layout, opt, op, first, lasting, reason)
						})
					}
				}
			}
		}
	}
}
