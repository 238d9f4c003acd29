package maildir

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"maildird/maildir/folder"
)

var guid = regexp.MustCompile(` G[0-9a-f]{32}`)

// TestCopiedFolder: a folder that was made from another one by cp -a has the same GUID in
// its list. Each has an ID of its own all the same, and keeps it and everything else.
func TestCopiedFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), "alice")
	opt := AccountOptions{Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}}
	var a *Account
	start := func() {
		t.Helper()
		s := NewStore(Options{Host: "host.test", Log: slog.New(slog.DiscardHandler), Idle: 8})
		t.Cleanup(func() { _ = s.Close() })
		var err error
		if a, err = s.Account(t.Context(), opt); err != nil {
			t.Fatal(err)
		}
	}
	type facts struct {
		id   string
		next uint32
		list string // but for the GUID
	}
	ask := func(name string) facts {
		t.Helper()
		m, err := a.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		id, err := m.ID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(root, "."+name, "dovecot-uidlist"))
		if err != nil {
			t.Fatal(err)
		}
		return facts{id, m.UIDNext(), guid.ReplaceAllString(string(text), "")}
	}
	cp := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("cp", "-a", filepath.Join(root, "."+from), filepath.Join(root, "."+to)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	start()
	if err := a.Create(context.Background(), "Box", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, ".Box", "cur", "1700000000.M1P1.h:2,S"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	box := ask("Box")
	cp("Box", "Copy")
	for range 2 {
		if got := ask("Box"); got != box {
			t.Errorf("the original had %v and has %v", box, got)
		}
		copied := ask("Copy")
		if copied.id == box.id {
			t.Errorf("both have the ID %s", box.id)
		}
		if copied.id = box.id; copied != box {
			t.Errorf("the copy has %v, the original %v", copied, box)
		}
	}
	copied := ask("Copy")
	a.Release()
	start() // another server
	if again := ask("Copy"); again != copied {
		t.Errorf("after a restart the copy has %v, had %v", again, copied)
	}
	// The same is true if a client asks for the copy before the original, and after a
	// restart.
	box = ask("Box")
	cp("Box", "Later")
	a.Release()
	start()
	later := ask("Later")
	if later.id == box.id {
		t.Error("the copy that was asked for first has the ID of its original")
	}
	if got := ask("Box"); got != box {
		t.Errorf("after its copy was opened the original has %v, had %v", got, box)
	}
	// A folder that was only renamed keeps its ID, whoever renamed it, even when another
	// one takes its place.
	if err := os.Rename(filepath.Join(root, ".Copy"), filepath.Join(root, ".Moved")); err != nil {
		t.Fatal(err)
	}
	if got := ask("Moved"); got != copied {
		t.Errorf("after a rename %v, before %v", got, copied)
	}
	cp("Moved", "Copy")
	if got := ask("Copy"); got.id == copied.id || got.id == box.id {
		t.Errorf("the copy of the copy has %v", got)
	}
	// So does one that was restored from a backup.
	cp("Moved", "Aside")
	if err := os.RemoveAll(filepath.Join(root, ".Moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, ".Aside"), filepath.Join(root, ".Moved")); err != nil {
		t.Fatal(err)
	}
	if got := ask("Moved"); got != copied {
		t.Errorf("put back it has %v, had %v", got, copied)
	}
	a.Release()
}
