package folder

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A name, its canonical spelling, and its place on disk.
func TestNameToDisk(t *testing.T) {
	for _, c := range []struct {
		opt                    Options
		name, canonical, place string
	}{
		{ppSlash, "Sent", "Sent", ".Sent"},
		{ppSlash, "Work/2024/", "Work/2024", ".Work.2024"},
		{ppSlash, "Grüße/R&D", "Grüße/R&D", ".Gr&APwA3w-e.R&-D"},
		{ppSlash, "日本", "日本", ".&ZeVnLA-"},
		{ppSlash, `a "b" \*%[x]{y}`, `a "b" \*%[x]{y}`, `.a "b" \*%[x]{y}`},
		{ppSlash, "x~/~y", "x~/~y", ".x~.~y"},
		{ppSlash, "cur", "cur", ".cur"},
		{ppSlash, "inbox/Sub", "INBOX/Sub", ".INBOX.Sub"},
		{ppSlash, "x/inbox", "x/inbox", ".x.inbox"},
		{ppSlash, " lead/trail ", " lead/trail ", ". lead.trail "},
		{ppDot, "Work.2024", "Work.2024", ".Work.2024"},
		{ppDot, "INBOX.x", "INBOX.x", ".INBOX.x"},
		{ppCourier, "INBOX.Sent", "INBOX.Sent", ".Sent"},
		{ppCourier, "inbox.Sent.2024", "INBOX.Sent.2024", ".Sent.2024"},
		{ppCourier, "INBOX.inbox", "INBOX.inbox", ".inbox"},
		{ppCourier, "INBOX.INBOX.x", "INBOX.INBOX.x", ".INBOX.x"},
		{fsSlash, "Work/2024", "Work/2024", "Work/2024"},
		{fsSlash, "v1.2/a.b", "v1.2/a.b", "v1.2/a.b"},
		{fsSlash, ".hidden", ".hidden", ".hidden"},
		{fsSlash, "Inbox/x", "INBOX/x", "INBOX/x"},
		{fsSlash, "Grüße", "Grüße", "Gr&APwA3w-e"},
		{fsDot, "a.b.c", "a.b.c", "a/b/c"},
		{fsCourier, "INBOX.a.b", "INBOX.a.b", "a/b"},
		{fsPrefix, "Mail/a/b", "Mail/a/b", "a/b"},
	} {
		tree, root := testTree(t, c.opt)
		got, err := tree.Canonical(c.name)
		if err != nil || got != c.canonical {
			t.Errorf("%q: Canonical gives %q, %v; want %q", c.name, got, err, c.canonical)
		}
		if err := tree.Create(t.Context(), c.name, nil); err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		if !exists(t, filepath.Join(root, c.place, "cur")) {
			t.Errorf("%q made no %q", c.name, c.place)
		}
		wantError(t, tree.Create(t.Context(), c.canonical, nil), ErrExists)
		if err := opens(tree, c.name); err != nil {
			t.Errorf("%q does not open: %v", c.name, err)
		}
		entries, err := tree.List()
		must(t, err)
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == c.canonical && !e.NoSelect }) {
			t.Errorf("%q is not listed: %q", c.name, brief(t, tree))
		}
	}
}

func TestInboxSpellings(t *testing.T) {
	for _, c := range []struct {
		opt   Options
		names []string
	}{
		{ppSlash, []string{"INBOX", "inbox", "InBoX"}},
		{ppSlash, []string{"INBOX/"}},
		{ppCourier, []string{"INBOX", "inbox", "INBOX.", "inbox.", "INBOX.INBOX"}},
		{fsCourier, []string{"INBOX", "INBOX.INBOX"}},
		{fsPrefix, []string{"INBOX", "inbox", "Mail/INBOX"}},
	} {
		for _, name := range c.names {
			tree, root := testTree(t, c.opt)
			if got, err := tree.Canonical(name); err != nil || got != "INBOX" {
				t.Errorf("Canonical(%q) = %q, %v", name, got, err)
			}
			d, err := tree.OpenDir(name)
			if err != nil {
				t.Errorf("OpenDir(%q): %v", name, err)
				continue
			}
			if d.Path() != root {
				t.Errorf("OpenDir(%q) opened %q", name, d.Path())
			}
			d.Close()
			wantError(t, tree.Create(t.Context(), name, nil), ErrExists)
			wantError(t, tree.Delete(t.Context(), name), ErrInbox)
			wantError(t, tree.Rename(t.Context(), name, c.opt.Prefix+"x"), ErrInbox)
			must(t, tree.Create(t.Context(), c.opt.Prefix+"x", nil))
			wantError(t, tree.Rename(t.Context(), c.opt.Prefix+"x", name), ErrExists)
		}
	}
}

// Names that cannot be those of mailboxes, with a word of the reason. Those marked as
// opening return only ErrNotFound from OpenDir.
func TestImpossibleNames(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, c := range []struct {
		opt    Options
		name   string
		reason string
		opens  bool
	}{
		{ppSlash, "", "nothing", false},
		{ppSlash, "/", "nothing", false},
		{ppSlash, "/a", "begins with the hierarchy separator", false},
		{ppSlash, "a//b", "two hierarchy separators", false},
		{ppSlash, "a//", "two hierarchy separators", false},
		{ppSlash, "a.b", "not the hierarchy separator here", false},
		{ppSlash, "..", "not the hierarchy separator here", false},
		{ppSlash, "a\x01b", "control character", false},
		{ppSlash, "a\nb", "control character", false},
		{ppSlash, "a\x00b", "control character", false},
		{ppSlash, "a\x7f", "control character", false},
		{ppSlash, "a\u0085b", "U+0085", true},
		{ppSlash, "a\u2028b", "U+2028", true},
		{ppSlash, "\xff", "UTF-8", false},
		{ppSlash, "~a", "'~'", true},
		{ppSlash, long, "256 octets", true},
		{ppSlash, strings.Repeat("ü", 120), "octets", true},
		{ppSlash, strings.Repeat("x/", 3000), "longer than", false},
		{ppSlash, strings.Repeat("x/", 120), "more than 100 levels", false},
		{ppSlash, "a/\uFFFD/b", "stands for an unreadable one", true},
		{ppDot, "a/b", "not the hierarchy separator here", false},
		{ppDot, ".a", "begins with the hierarchy separator", false},
		{ppCourier, "Sent", `does not begin with "INBOX."`, false},
		{ppCourier, "INBOX/x", `does not begin with "INBOX."`, false},
		{ppCourier, "INBOXx", `does not begin with "INBOX."`, false},
		{ppCourier, "INBOX..x", "begins with the hierarchy separator", false},
		{fsSlash, "a/../b", "directory to the file system", true},
		{fsSlash, "..", "directory to the file system", true},
		{fsSlash, "./a", "directory to the file system", true},
		{fsSlash, "cur", "name of a directory in every mailbox", true},
		{fsSlash, "a/new", "name of a directory in every mailbox", true},
		{fsSlash, "tmp/a", "name of a directory in every mailbox", true},
		{fsSlash, "a/dovecot-uidlist", "name of a file", true},
		{fsSlash, "subscriptions", "name of a file", true},
		{fsSlash, "maildird-quarantine", "name of a file", true},
		{fsSlash, "maildird-metadata.tmp", "name of a file", true},
		{fsSlash, "a/maildird-metadata-account.tmp/b", "name of a file", true},
		{fsSlash, "dovecot-uidvalidity.fffffffe", "name of a file", true},
		{fsSlash, "dovecot-uidlist.lock", "name of a file", true},
		{fsSlash, "dovecot.index.log.2", "name of a file", true},
		{fsSlash, "mailboxes.lock", "name of a file", true},
		{fsSlash, "..DOVECOT-TRASHED", "name of a file", true},
		{fsSlash, long + "x", "256 octets", true},
		{fsDot, "a/b", "not the hierarchy separator here", false},
		{fsPrefix, "a", `does not begin with "Mail/"`, false},
		{fsPrefix, "Mail", `does not begin with "Mail/"`, false},
		{fsPrefix, "Mail/", "nothing after the prefix", false},
	} {
		tree, root := testTree(t, c.opt)
		for what, err := range map[string]error{
			"Create": tree.Create(t.Context(), c.name, nil),
			"Rename": tree.Rename(t.Context(), c.opt.Prefix+"nothing", c.name),
		} {
			if !errors.Is(err, ErrName) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s(%.20q): %v; want %v with %q", what, c.name, err, ErrName, c.reason)
			}
		}
		want := ErrName
		if c.opens {
			want = ErrNotFound
		}
		wantError(t, opens(tree, c.name), want)
		wantError(t, tree.Delete(t.Context(), c.name), want)
		_, err := tree.Canonical(c.name)
		if c.opens != (err == nil) {
			t.Errorf("Canonical(%.20q): %v", c.name, err)
		}
		files, err := os.ReadDir(root)
		must(t, err)
		if len(files) != 3 {
			t.Errorf("%.20q left %v", c.name, files)
		}
	}
}

// Directories whose names are not mailbox names are shown and can be opened.
func TestOddNamesOnDisk(t *testing.T) {
	for _, c := range []struct {
		opt         Options
		place, name string
	}{
		{ppSlash, ".raw-ü", "raw-ü"},
		{ppSlash, ".lat\xfc\xfd-1", "lat\uFFFD-1"},
		{ppSlash, ".R&D", "R&D"},
		{ppSlash, ".&AGE-", "&AGE-"},
		{ppSlash, ".a..b", "a/\uFFFD/b"},
		{ppSlash, "..weird", "\uFFFD/weird"},
		{ppSlash, ".end.", "end/\uFFFD"},
		{ppSlash, ".ctl\x01x", "ctl\uFFFDx"},
		{ppSlash, ".nl\nx", "nl\uFFFDx"},
		{ppSlash, ".&AAo-", "\uFFFD"},
		{ppSlash, ".InBox.kid", "INBOX/kid"},
		{ppSlash, ".~tilde", "~tilde"},
		{ppDot, ".raw-ü.x", "raw-ü.x"},
		{fsSlash, "raw-ü/&bad/x", "raw-ü/&bad/x"},
		{fsSlash, "inbox/kid", "INBOX/kid"},
		{fsDot, "v1.2", "v1\uFFFD2"},
		{fsCourier, "v1.2/\xfc", "INBOX.v1\uFFFD2.\uFFFD"},
	} {
		tree, root := testTree(t, c.opt, c.place+"/cur/")
		entries, err := tree.List()
		must(t, err)
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == c.name && !e.NoSelect }) {
			t.Errorf("%q is not listed as %q: %q", c.place, c.name, brief(t, tree))
		}
		d, err := tree.OpenDir(c.name)
		if err != nil {
			t.Errorf("%q does not open: %v", c.name, err)
			continue
		}
		if want := root + "/" + c.place; d.Path() != want {
			t.Errorf("%q opened %q", c.name, d.Path())
		}
		d.Close()
		if got, err := tree.Canonical(c.name); err != nil || got != c.name {
			t.Errorf("Canonical(%q) = %q, %v", c.name, got, err)
		}
		if err := tree.Create(t.Context(), c.name, nil); !errors.Is(err, ErrExists) && !errors.Is(err, ErrName) {
			t.Errorf("a second %q was made: %v", c.name, err)
		}
		if err := tree.Rename(t.Context(), c.name, c.opt.Prefix+"good"); err != nil {
			t.Errorf("%q cannot be renamed: %v", c.name, err)
		}
		must(t, tree.Delete(t.Context(), c.opt.Prefix+"good"))
	}
}

// A rename to the name under which a folder is already shown gives it its proper spelling.
func TestRenameToProperSpelling(t *testing.T) {
	tree, root := testTree(t, ppSlash, ".raw-ü/cur/", ".raw-ü.x/cur/")
	must(t, tree.Rename(t.Context(), "raw-ü", "raw-ü"))
	if !exists(t, root+"/.raw-&APw-/cur") || !exists(t, root+"/.raw-&APw-.x/cur") {
		t.Error("not renamed")
	}
	wantError(t, tree.Rename(t.Context(), "raw-ü", "raw-ü"), ErrExists)
}

func TestTwoPlacesThatLookAlike(t *testing.T) {
	tree, root := testTree(t, ppSlash, ".ü/cur/", ".&APw-/cur/")
	wantList(t, tree, "INBOX", "ü")
	d, err := tree.OpenDir("ü")
	must(t, err)
	defer d.Close()
	if d.Path() != root+"/.&APw-" {
		t.Errorf("opened %q", d.Path())
	}
}

// randomName returns a name that may be created with these options.
func randomName(r *rand.Rand, opt Options) string {
	const letters = "abcXYZ019 &~\"\\*%[](){}<>|'`$!?#:;,+=@^_-üßé日本語😀Жא\u0301"
	pool := []rune(letters)
	if opt.Layout == LayoutFS && opt.Separator == '/' {
		pool = append(pool, '.')
	}
	text := make([]string, 1+r.IntN(4))
	for i := range text {
		level := []rune{'a' + rune(r.IntN(26))}
		for range r.IntN(10) {
			level = append(level, pool[r.IntN(len(pool))])
		}
		if r.IntN(4) == 0 {
			slices.Reverse(level[1:])
		}
		text[i] = string(level)
	}
	return opt.Prefix + strings.Join(text, string(opt.Separator))
}

func TestNameRoundTrip(t *testing.T) {
	for what, opt := range allOptions {
		tree, _ := testTree(t, opt)
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		for range 5000 {
			name := randomName(r, opt)
			at, err := tree.newPlace(name)
			if err != nil {
				t.Fatalf("%s, seed %d: %q: %v", what, seed, name, err)
			}
			if got := tree.join(tree.show(at)); got != name {
				t.Fatalf("%s, seed %d: %q is shown as %q", what, seed, name, got)
			}
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"INBOX", "a/b", "a.b", "INBOX.x", "..", "~a", "a//b", "Mail/x", "cur", "ü\u0085", "\xff", "inbox/\uFFFD"} {
		f.Add(s)
	}
	trees := map[string]*Tree{}
	for what, opt := range allOptions {
		trees[what], _ = testTree(f, opt)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for what, tree := range trees {
			checkName(t, what, tree, name)
		}
	})
}

// checkName holds for every string that a client can send.
func checkName(t *testing.T, what string, tree *Tree, name string) {
	canonical, err := tree.Canonical(name)
	if err != nil {
		if !errors.Is(err, ErrName) {
			t.Fatalf("%s: Canonical(%q): %v", what, name, err)
		}
		if _, err := tree.newPlace(name); err == nil {
			t.Fatalf("%s: %q can be made, but not named", what, name)
		}
		return
	}
	if again, err := tree.Canonical(canonical); err != nil || again != canonical {
		t.Fatalf("%s: %q is %q, which is %q, %v", what, name, canonical, again, err)
	}
	at, err := tree.newPlace(name)
	if err != nil {
		return
	}
	for _, level := range at {
		if level == "" || strings.ContainsAny(level, "/\x00\n") || !utf8.ValidString(level) {
			t.Fatalf("%s: %q has level %q on disk", what, name, level)
		}
		if tree.opt.Layout == LayoutFS && (level == "." || level == ".." || level == "cur" || len(level) > fileNameMax) {
			t.Fatalf("%s: %q has level %q on disk", what, name, level)
		}
	}
	if shown := tree.join(tree.show(at)); shown != canonical {
		t.Fatalf("%s: %q is shown as %q", what, canonical, shown)
	}
}

// What is on disk is always shown under a name that clients can use.
func FuzzShow(f *testing.F) {
	for _, s := range []string{"Sent", "a.b", "..", "R&D", "\xfc", "a\nb", "InBox.x", "&AAo-", "&2D0-"} {
		f.Add(s)
	}
	trees := map[string]*Tree{}
	for what, opt := range allOptions {
		trees[what], _ = testTree(f, opt)
	}
	f.Fuzz(func(t *testing.T, disk string) {
		if disk == "" || len(disk) > 254 || strings.ContainsAny(disk, "/\x00") {
			t.Skip("no name of a directory")
		}
		for what, tree := range trees {
			at := levels{disk}
			if tree.opt.Layout == LayoutMaildirPP {
				at = strings.Split(disk, ".")
			}
			if len(at) > maxLevels {
				continue
			}
			name := tree.join(tree.show(at))
			if got, err := tree.Canonical(name); err != nil || got != name {
				t.Fatalf("%s: %q is shown as %q, which is %q, %v", what, disk, name, got, err)
			}
		}
	})
}

// TestDeleteCharacter: Dovecot makes mailboxes with DEL in their names, and other
// programs directories. Clients see and use them, by a name without it.
func TestDeleteCharacter(t *testing.T) {
	tree, _ := testTree(t, ppSlash, ".A\x7fx/cur/", ".B&AH8-x/cur/")
	if got, want := brief(t, tree), []string{"INBOX", "A\ufffdx", "B\ufffdx"}; !slices.Equal(got, want) {
		t.Fatalf("listed %q, want %q", got, want)
	}
	for _, name := range []string{"A\ufffdx", "B\ufffdx"} {
		must(t, opens(tree, name))
		must(t, tree.SetSubscribed(t.Context(), name, true))
		if got, err := tree.Subscriptions(); err != nil || !slices.Equal(got, []string{name}) {
			t.Errorf("subscribed to %q, %v", got, err)
		}
		must(t, tree.SetSubscribed(t.Context(), name, false))
		must(t, tree.Rename(t.Context(), name, "good"))
		must(t, tree.Delete(t.Context(), "good"))
	}
}
