package folder

import (
	"testing"
	"time"

	"maildird/maildir/uidlist"
)

// TestRenamedValidity: mailboxes that are created under the names that others lost by a
// Rename get a greater UIDVALIDITY than these.
func TestRenamedValidity(t *testing.T) {
	for name, opt := range map[string]Options{"maildir++": ppSlash, "fs": fsSlash} {
		t.Run(name, func(t *testing.T) {
			tree, _ := testTree(t, opt)
			low, err := uidlist.NextValidity(tree.root, time.Unix(1_700_000_000, 0), false)
			must(t, err)
			number := func(mailbox string, validity uint32) {
				must(t, tree.Create(t.Context(), mailbox, nil))
				d, err := tree.OpenDir(mailbox)
				must(t, err)
				must(t, uidlist.New(d, uidlist.Options{}).Rewrite(uidlist.Header{UIDValidity: validity}, func(func(uidlist.Record) bool) {}))
				must(t, d.Close())
			}
			number("A", low+1)
			number("A/B", low+7)
			number("AB", low+9)
			must(t, tree.Rename(t.Context(), "A", "R"))
			if n, err := uidlist.NextValidity(tree.root, time.Now(), false); err != nil || n != low+8 {
				t.Errorf("the next UIDVALIDITY is %d, %v, want %d", n, err, low+8)
			}
			// What has no directory of its own is renamed as well.
			number("L/M", low+20)
			must(t, tree.Rename(t.Context(), "L", "N"))
			if n, err := uidlist.NextValidity(tree.root, time.Now(), false); err != nil || n != low+21 {
				t.Errorf("the next UIDVALIDITY is %d, %v, want %d", n, err, low+21)
			}
		})
	}
}
