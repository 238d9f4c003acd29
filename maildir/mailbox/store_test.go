package mailbox

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"maildird/maildir/filename"
)

// TestStoreToNobody: a keyword that no message gets uses none of the 26 letters, as in
// Dovecot, which names a letter when it is used in a file name.
func TestStoreToNobody(t *testing.T) {
	b := newBox(t)
	b.drop("cur/1700000001.M1P1.other:2,S")
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	enabled, err := c.v.EnableModSeq(ctx)
	if err != nil || !enabled {
		t.Fatal(enabled, err)
	}
	since := c.v.HighestModSeq()
	if _, err := c.v.Store(ctx, c.uids, Add, filename.Flagged, nil); err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{Add, Set} {
		done, modified, err := c.v.StoreUnchangedSince(ctx, since, c.uids, op, 0, []string{"Wish"})
		if err != nil || len(done) != 0 || len(modified) != 1 {
			t.Errorf("%v, %v, %v", done, modified, err)
		}
		if done, err := c.v.Store(ctx, []uint32{4711}, op, 0, []string{"Wish"}); err != nil || len(done) != 0 {
			t.Errorf("%v, %v", done, err)
		}
	}
	if text, err := os.ReadFile(b.file("dovecot-keywords")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dovecot-keywords: %q, %v", text, err)
	}
	if _, err := c.v.Store(ctx, c.uids, Set, 0, []string{"Wish"}); err != nil {
		t.Fatal(err)
	}
	if !b.files()["cur/1700000001.M1P1.other:2,a"] {
		t.Errorf("%v", b.files())
	}
}
