package maildir

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/delivery"
	"maildird/maildir/folder"
)

// TestFirstDeliveries: they come all at once, through several servers, and create the
// Maildir with its folders; each message is delivered.
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
			account, err := store.Account(t.Context(), opt)
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

// TestFirstOfAccountGoes: the caller that creates the Maildir waits for another program.
// When it gives up, it stops waiting, and a caller that waited for it creates the Maildir
// itself.
func TestFirstOfAccountGoes(t *testing.T) {
	store := newStore(t, 0)
	opt := AccountOptions{Root: filepath.Join(t.TempDir(), "alice"), Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}}
	if err := os.Mkdir(opt.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	held, err := os.Create(filepath.Join(opt.Root, "mailboxes.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	opening := func(refs int) {
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			store.mu.Lock()
			a := store.accounts[opt.Root]
			ok := a != nil && a.refs == refs
			store.mu.Unlock()
			if ok {
				return
			}
			if time.Since(start) > time.Minute {
				t.Fatalf("there never were %d who wait", refs)
			}
		}
	}
	first, goes := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := store.Account(first, opt); !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
	})
	opening(1)
	second, alsoGoes := context.WithCancel(t.Context())
	all.Go(func() {
		if _, err := store.Account(second, opt); !errors.Is(err, context.Canceled) {
			t.Errorf("the second: %v", err)
		}
	})
	opening(2)
	alsoGoes()
	opening(1)
	all.Go(func() {
		a, err := store.Account(t.Context(), opt)
		if err != nil {
			t.Errorf("the third: %v", err)
			return
		}
		a.Release()
	})
	opening(2)
	goes()
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// TestUnknownLayout: an unknown layout is not mistaken for a known one.
func TestUnknownLayout(t *testing.T) {
	store := newStore(t, 0)
	root := t.TempDir()
	for _, made := range []bool{false, true} {
		if made {
			if err := os.Mkdir(filepath.Join(root, "cur"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		_, err := store.Account(t.Context(), AccountOptions{Root: root, Folder: folder.Options{Layout: "maildir+", Separator: '/'}})
		if want := root + `: unknown layout "maildir+", it is "maildir++" or "fs"`; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
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
		if _, err := store.Account(t.Context(), opt); err == nil {
			t.Errorf("opened %s", root)
		}
	}
}
