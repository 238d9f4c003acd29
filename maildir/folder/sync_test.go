package folder

import (
	"slices"
	"syscall"
	"testing"

	"maildird/maildir/dirfd"
)

// TestSyncFails: a change that cannot be made durable is not made, as its answer says: a
// client that is told that a mailbox was not renamed continues to use the old name.
func TestSyncFails(t *testing.T) {
	failing := func(*dirfd.Dir) error { return syscall.EIO }
	for name, opt := range map[string]Options{"maildir++": ppSlash, "fs": fsSlash} {
		for change, do := range map[string]func(*Tree) error{
			"Create":            func(tree *Tree) error { return tree.Create(t.Context(), "N", nil) },
			"Create below":      func(tree *Tree) error { return tree.Create(t.Context(), "A/N", nil) },
			"Rename":            func(tree *Tree) error { return tree.Rename(t.Context(), "A", "C") },
			"Rename a child":    func(tree *Tree) error { return tree.Rename(t.Context(), "A/B", "D") },
			"Delete":            func(tree *Tree) error { return tree.Delete(t.Context(), "A/B") },
			"Delete its parent": func(tree *Tree) error { return tree.Delete(t.Context(), "A") },
		} {
			tree, root := testTree(t, opt)
			must(t, tree.Create(t.Context(), "A", []string{`\Archive`}))
			must(t, tree.Create(t.Context(), "A/B", nil))
			before := brief(t, tree)
			good := tree.layout
			tree.layout = ppLayout{sync: failing}
			if opt.Layout == LayoutFS {
				tree.layout = fsLayout{sync: failing}
			}
			wantError(t, do(tree), syscall.EIO)
			if after := brief(t, tree); !slices.Equal(after, before) {
				t.Errorf("%s: after a %s that failed there are %q, before %q", name, change, after, before)
			}
			if exists(t, root+"/"+trashName) {
				t.Errorf("%s: a %s that failed left something in the trash", name, change)
			}
			tree.layout = good
			must(t, do(tree))
		}
	}
}
