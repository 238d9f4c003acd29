package maildir

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"maildird/maildir/delivery"
	"maildird/maildir/folder"
)

// TestFirstDeliveries: they come all at once, over several servers, make the
// Maildir with its folders, and each message is there.
func TestFirstDeliveries(t *testing.T) {
	opt := AccountOptions{
		Root:     filepath.Join(t.TempDir(), "not", "there", "yet", "alice"),
		Folder:   folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'},
		Defaults: []folder.Default{{Name: "Sent", SpecialUse: `\Sent`}},
	}
	const n = 8
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			store := NewStore(Options{Host: "test", Fsync: true, Log: slog.New(slog.DiscardHandler)})
			defer store.Close()
			account, err := store.Account(opt)
			if err != nil {
				t.Error(err)
				return
			}
			defer account.Release()
			s := delivery.NewSpool([]delivery.Target{{Open: account.Inbox}}, false, store.Delivery())
			if _, err := s.Write([]byte("Subject: x\n")); err != nil {
				t.Error(err)
			}
			if err := s.Commit()[0]; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if names, err := os.ReadDir(filepath.Join(opt.Root, "new")); err != nil || len(names) != n {
		t.Errorf("%d messages, %v", len(names), err)
	}
	if _, err := os.Stat(filepath.Join(opt.Root, ".Sent", "cur")); err != nil {
		t.Error(err)
	}
}

func TestRootThatCannotBe(t *testing.T) {
	store := NewStore(Options{Host: "test", Log: slog.New(slog.DiscardHandler)})
	defer store.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "below")} {
		opt := AccountOptions{Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}}
		if _, err := store.Account(opt); err == nil {
			t.Errorf("opened %s", root)
		}
	}
}
