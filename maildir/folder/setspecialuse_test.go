package folder

import "testing"

// TestSetSpecialUse: a mailbox gets exactly the requested attributes, or keeps those that
// it has.
func TestSetSpecialUse(t *testing.T) {
	tree := openTree(t, t.TempDir(), Options{Layout: LayoutMaildirPP, Separator: '/', SpecialUse: map[string]string{"Sent": `\Sent`}})
	for _, name := range []string{"Post", "Sent"} {
		must(t, tree.Create(t.Context(), name, nil))
	}
	set := func(name string, uses ...string) error { return tree.SetSpecialUse(t.Context(), name, uses) }
	wantList(t, tree, "INBOX", "Post", `Sent [\Sent]`)
	must(t, set("Post", `\junk`, `\Drafts`, `\Junk`))
	wantList(t, tree, "INBOX", `Post [\Drafts\Junk]`, `Sent [\Sent]`)
	wantError(t, set("Post", `\Drafts`, `\Bogus`), ErrSpecialUse)
	wantError(t, set("INBOX", `\Drafts`), ErrSpecialUse)
	wantError(t, set("Nothing", `\Drafts`), ErrNotFound)
	wantList(t, tree, "INBOX", `Post [\Drafts\Junk]`, `Sent [\Sent]`)

	// A mailbox keeps what it has because of its name, until another one has it.
	wantError(t, set("Sent"), ErrSpecialUse)
	wantError(t, set("Sent", `\Trash`), ErrSpecialUse)
	must(t, set("Sent", `\Sent`, `\Trash`))
	wantList(t, tree, "INBOX", `Post [\Drafts\Junk]`, `Sent [\Sent\Trash]`)
	must(t, set("Post", `\Sent`))
	must(t, set("Sent"))
	wantList(t, tree, "INBOX", `Post [\Sent]`, "Sent")

	for name, want := range map[string]int{"Post": 1, "Sent": 0, "INBOX": 0} {
		if uses, err := tree.SpecialUse(name); err != nil || len(uses) != want {
			t.Errorf("%s: %q, %v", name, uses, err)
		}
	}
	_, err := tree.SpecialUse("Nothing")
	wantError(t, err, ErrNotFound)
}
