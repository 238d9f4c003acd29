package folder

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRenameKeepsUses: a mailbox keeps its attributes when it is renamed, and is not
// renamed if they cannot be written. Lines of missing mailboxes do not matter.
func TestRenameKeepsUses(t *testing.T) {
	tree, root := testTree(t, ppSlash, ".A/cur/", ".A.sub/cur/", ".C/cur/", ".C.sub/cur/",
		`maildird-specialuse = \Sent A`+"\n\\Trash A/sub\n\\Junk B\nnot ours\n")
	before := []string{"INBOX", `A [C\Sent]`, `A/sub [\Trash]`, "C [C]", "C/sub"}
	wantList(t, tree, before...)
	text := func() string {
		b, err := os.ReadFile(filepath.Join(root, specialUseFile))
		must(t, err)
		return string(b)
	}
	was := text()
	tree.file = 50 * time.Millisecond
	place(t, root, specialUseFile+".lock = held by another program")
	wantError(t, tree.Rename(t.Context(), "A", "B"), ErrLocked)
	wantList(t, tree, before...)
	must(t, os.Remove(filepath.Join(root, specialUseFile+".lock")))
	wantError(t, tree.Rename(t.Context(), "A", "C"), ErrExists)
	wantList(t, tree, before...)
	if got := text(); got != was {
		t.Errorf("after a RENAME that failed the file is\n%swant\n%s", got, was)
	}
	must(t, tree.Rename(t.Context(), "A", "B"))
	wantList(t, tree, "INBOX", `B [C\Sent]`, `B/sub [\Trash]`, "C [C]", "C/sub")
	if got, want := text(), "not ours\n\\Sent B\n\\Trash B/sub\n"; got != want {
		t.Errorf("the file is\n%swant\n%s", got, want)
	}
}

// TestUsesWithCRLF: an editor left CR LF at the ends of the lines.
func TestUsesWithCRLF(t *testing.T) {
	tree, root := testTree(t, ppSlash, ".A/cur/", ".B/cur/", specialUseFile+" = \\Sent A\r\nnot ours\r\n\\Junk B\r")
	wantList(t, tree, "INBOX", `A [\Sent]`, `B [\Junk]`)
	must(t, tree.Rename(t.Context(), "A", "C"))
	wantList(t, tree, "INBOX", `B [\Junk]`, `C [\Sent]`)
	text, err := os.ReadFile(filepath.Join(root, specialUseFile))
	if want := "not ours\n\\Junk B\n\\Sent C\n"; err != nil || string(text) != want {
		t.Errorf("the file is %q, %v, want %q", text, err, want)
	}
}
