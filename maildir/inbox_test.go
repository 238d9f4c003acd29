package maildir

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/folder"
	"maildird/maildir/quota"
)

// deliverTo adds a message to the account's INBOX, and returns its file's name and mode.
func deliverTo(t *testing.T, s *Store, root string) (name string, mode fs.FileMode) {
	t.Helper()
	a := openAccount(t, s, root)
	defer a.Release()
	sp := delivery.NewSpool([]delivery.Target{{Open: a.Inbox}}, false, s.Delivery())
	if _, err := sp.Write([]byte("Subject: x\n\ntext\n")); err != nil {
		t.Fatal(err)
	}
	before := mailIn(t, root)
	if err := sp.Commit()[0]; err != nil {
		t.Fatal(err)
	}
	for name := range mailIn(t, root) {
		if _, old := before[name]; !old {
			st, err := os.Lstat(filepath.Join(root, "new", name))
			if err != nil {
				t.Fatal(err)
			}
			return name, st.Mode().Perm()
		}
	}
	t.Fatal("the message is not where the path leads to")
	return "", 0
}

func mailIn(t *testing.T, root string) map[string]struct{} {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "new"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	names := map[string]struct{}{}
	for _, e := range entries {
		names[e.Name()] = struct{}{}
	}
	return names
}

// TestInboxFollowsItsPath delivers into directories that stay open between deliveries,
// while others change what the paths lead to: mail always goes to what is there now.
func TestInboxFollowsItsPath(t *testing.T) {
	root := filepath.Join(t.TempDir(), "alice")
	s := newStore(t, 0)
	deliverTo(t, s, root)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	swap := func(sub string) func() {
		return func() {
			dir := filepath.Join(root, sub)
			do(os.Rename(dir, filepath.Join(t.TempDir(), "away")))
			do(os.Mkdir(dir, 0o700))
		}
	}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"nothing", func() {}},
		{"another new/", swap("new")},
		{"another tmp/", swap("tmp")},
		{"another cur/", swap("cur")},
		{"no new/", func() { do(os.RemoveAll(filepath.Join(root, "new"))) }},
		{"no tmp/", func() { do(os.Remove(filepath.Join(root, "tmp"))) }},
		{"no cur/", func() { do(os.Remove(filepath.Join(root, "cur"))) }},
		{"another Maildir", func() {
			do(os.Rename(root, filepath.Join(t.TempDir(), "away")))
			for _, sub := range []string{"cur", "new", "tmp"} {
				do(os.MkdirAll(filepath.Join(root, sub), 0o700))
			}
		}},
		{"no Maildir", func() { do(os.Rename(root, filepath.Join(t.TempDir(), "away"))) }},
	} {
		for _, rest := range []time.Duration{0, settled + 50*time.Millisecond} {
			t.Run(c.name, func(t *testing.T) {
				// At first the change time means nothing; later it proves that the
				// directories are current.
				time.Sleep(rest)
				deliverTo(t, s, root)
				deliverTo(t, s, root)
				c.change()
				deliverTo(t, s, root)
				for _, sub := range []string{"cur", "new", "tmp"} {
					if st, err := os.Lstat(filepath.Join(root, sub)); err != nil || !st.IsDir() {
						t.Errorf("%s: %v", sub, err)
					}
				}
			})
		}
	}
}

// TestInboxRights changes the rights of a folder, which new files inherit.
func TestInboxRights(t *testing.T) {
	root := filepath.Join(t.TempDir(), "alice")
	s := newStore(t, 0)
	deliverTo(t, s, root)
	for _, mode := range []fs.FileMode{0o700, 0o770, 0o755, 0o700} {
		for _, rest := range []time.Duration{0, settled + 50*time.Millisecond} {
			time.Sleep(rest)
			deliverTo(t, s, root)
			if err := os.Chmod(root, mode); err != nil {
				t.Fatal(err)
			}
			if _, got := deliverTo(t, s, root); got != mode&0o666 {
				t.Errorf("a file in a folder with the rights %o has %o", mode, got)
			}
		}
	}
}

// TestAccountsRest opens more accounts than can rest, and finds the latest one as it was
// left, and no Maildir created by a mere query.
func TestAccountsRest(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, 0)
	for i := range mostResting + 10 {
		deliverTo(t, s, filepath.Join(dir, string(rune('A'+i))))
	}
	s.mu.Lock()
	if s.resting.Len() != mostResting || len(s.accounts) != mostResting {
		t.Errorf("%d accounts rest, %d are open, want %d", s.resting.Len(), len(s.accounts), mostResting)
	}
	s.mu.Unlock()
	latest := filepath.Join(dir, "latest")
	deliverTo(t, s, latest)
	opt := AccountOptions{Root: latest, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}, Existing: true}
	a, err := s.Account(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if a.rest != nil || a.refs != 1 || a.inbox.dirs == nil {
		t.Error("an account that rested was opened anew")
	}
	a.Release()
	if err := os.RemoveAll(latest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Account(t.Context(), opt); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a Maildir that was removed is still there: %v", err)
	}
	if _, err := os.Lstat(latest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a Maildir was made for a question: %v", err)
	}
}

// TestInboxHasRoom: a message whose size the client did not announce is refused once it has
// arrived, by the Maildir that it was meant for, and the limit at that moment.
func TestInboxHasRoom(t *testing.T) {
	root := filepath.Join(t.TempDir(), "alice")
	s := newStore(t, 0)
	a := openAccount(t, s, root)
	defer a.Release()
	text := []byte("Subject: x\n\ntext\n")
	for _, limit := range []struct {
		bytes int64
		over  bool
	}{{0, false}, {int64(2*len(text)) - 1, true}, {int64(2 * len(text)), false}, {1, true}} {
		a.Quota().Configure(quota.Limit{Bytes: limit.bytes})
		before := len(mailIn(t, root))
		sp := delivery.NewSpool([]delivery.Target{{Open: a.Inbox}}, true, s.Delivery())
		if _, err := sp.Write(text); err != nil {
			t.Fatal(err)
		}
		err := sp.Commit()[0]
		if errors.Is(err, quota.ErrOver) != limit.over || err == nil == limit.over {
			t.Errorf("limit %d: %v", limit.bytes, err)
		}
		if stored := len(mailIn(t, root)) > before; stored == limit.over {
			t.Errorf("limit %d: stored is %t", limit.bytes, stored)
		}
	}
	if left, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("%d files are left in tmp/ (%v)", len(left), err)
	}
}

// BenchmarkInbox gets an account's INBOX for a delivery and releases it.
func BenchmarkInbox(b *testing.B) {
	root := filepath.Join(b.TempDir(), "alice")
	s := NewStore(Options{Host: "host.test", Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	opt := AccountOptions{Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}}
	for b.Loop() {
		a, err := s.Account(b.Context(), opt)
		if err != nil {
			b.Fatal(err)
		}
		_, release, err := a.Inbox()
		if err != nil {
			b.Fatal(err)
		}
		release()
		a.Release()
	}
}

// TestWatchedAgain: an account that is opened while the same one, which nobody used, is being
// closed still learns of folders by events.
func TestWatchedAgain(t *testing.T) {
	s, root := newStore(t, 1), filepath.Join(t.TempDir(), "alice")
	for i := range 300 {
		a := openAccount(t, s, root)
		a.OnTreeChange(func() {})()
		if a.watch == nil {
			t.Fatalf("account %d has no events", i)
		}
		a.Release()
		s.endRest(0, time.Time{})
	}
}
