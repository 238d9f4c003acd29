package folder

import "testing"

// TestForeign: notmuch's directory is not a folder, even after Dovecot has created a
// folder's directories in it; if somebody keeps mail there, it is one.
func TestForeign(t *testing.T) {
	tree, root := testTree(t, ppSlash, ".notmuch/xapian/")
	wantList(t, tree, "INBOX")
	wantError(t, opens(tree, "notmuch"), ErrNotFound)
	place(t, root, ".notmuch/cur/", ".notmuch/new/", ".notmuch/tmp/", ".notmuch/dovecot-uidlist = 3 V1 N1")
	wantList(t, tree, "INBOX")
	wantError(t, opens(tree, "notmuch"), ErrNotFound)
	place(t, root, ".notmuch/new/1.M1P1.host = Subject: x")
	wantList(t, tree, "INBOX", "notmuch")
	wantError(t, opens(tree, "notmuch"), nil)
}
