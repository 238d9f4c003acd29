package mailbox

import (
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/filename"
)

// TestLongNames: files whose names leave no room for flags are served, flagged and removed
// like others.
func TestLongNames(t *testing.T) {
	b := newBox(t)
	b.drop("new/17.M1P1." + strings.Repeat("n", 242))
	b.drop("cur/17.M2P1." + strings.Repeat("c", 240) + ":2,")
	b.drop("cur/17.M3P1." + strings.Repeat("f", 239) + ":2,S")
	b.drop("cur/17.M4P1.short:2,")
	c := b.session(newEnv(t))
	if len(c.uids) != 4 {
		t.Fatalf("UIDs %v", c.uids)
	}
	seen := 0
	for _, msg := range c.all() {
		if msg.Flags&filename.Seen != 0 {
			seen++
		}
		if text := read(t, c, msg.UID); !strings.HasPrefix(text, "Subject: 17.M") {
			t.Errorf("message %d is %q", msg.Seq, text)
		}
	}
	if seen != 1 {
		t.Errorf("%d messages are \\Seen", seen)
	}
	_, err := c.v.Store(ctx, c.uids, Add, filename.Deleted|filename.Flagged|filename.Seen|filename.Answered|filename.Draft, nil)
	must(t, err)
	for name := range b.files() {
		if filepath.Dir(name) != "cur" || filename.FlagsOf(name)&filename.Flagged == 0 {
			t.Errorf("%s has no flags", name)
		}
	}
	again := b.open(unwatched(t))
	defer again.Close()
	if uids := connect(t, again, true).uids; len(uids) != 4 || uids[0] != c.uids[0] || uids[3] != c.uids[3] {
		t.Errorf("UIDs %v, and after opening the folder again %v", c.uids, uids)
	}
}
