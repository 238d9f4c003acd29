package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/scripts/rig/leaks"
)

// newStore starts a store that must leave no goroutine and no open file behind.
func newStore(t *testing.T, idle int) *Store {
	t.Helper()
	before := openFiles(t)
	s := NewStore(Options{Host: "host.test", Log: slog.New(slog.DiscardHandler), Idle: idle})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		leaks.None(t)
		if after := openFiles(t); after > before {
			t.Errorf("%d files were open before, %d are after", before, after)
		}
	})
	return s
}

// TestPanicAtOpening: a panic that ends one session while it opens a mailbox does not
// prevent others from opening it.
func TestPanicAtOpening(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := openFiles(t)
	var faulty atomic.Bool
	s := NewStore(Options{Host: "host.test", Log: slog.New(slog.DiscardHandler), Now: func() time.Time {
		if faulty.Swap(false) {
			panic("no clock")
		}
		return time.Now()
	}})
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	drop(t, root, "1.M1P1.test")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		faulty.Store(true)
		_, err := a.Open(ctx, "INBOX")
		t.Error(err)
	}()
	opened := make(chan *Mailbox, 1)
	go func() {
		m, err := a.Open(ctx, "INBOX")
		if err != nil {
			t.Error(err)
		}
		opened <- m
	}()
	select {
	case m := <-opened:
		if n := messages(t, m); n != 1 {
			t.Errorf("%d messages", n)
		}
		m.Release()
	case <-ctx.Done():
		t.Fatal("nobody can open the mailbox any more")
	}
	a.Release()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	leaks.None(t)
	if after := openFiles(t); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}

// TestPanicAtClosing: a panic while a mailbox is closed does not prevent others from opening it,
// and everything that it had is released.
func TestPanicAtClosing(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := openFiles(t)
	var faulty atomic.Bool
	opt := Options{Host: "host.test", Log: slog.New(slog.DiscardHandler), Idle: -1, CacheDir: t.TempDir()}
	opt.Now = func() time.Time {
		if faulty.Swap(false) {
			panic("no clock")
		}
		return time.Now()
	}
	s := NewStore(opt)
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	drop(t, root, "1.M1P1.test")
	m := open(t, a, "INBOX")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		faulty.Store(true)
		m.Release()
	}()
	m, err := a.Open(ctx, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	a.Release()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	leaks.None(t)
	if after := openFiles(t); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}

// TestOpenAfterRenumbering: a mailbox that is kept ready, and was given a new UIDVALIDITY
// by another program meanwhile, is opened again for the next caller.
func TestOpenAfterRenumbering(t *testing.T) {
	s := newStore(t, 0)
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	defer a.Release()
	drop(t, root, "1.M1P1.test")
	m := open(t, a, "INBOX")
	messages(t, m)
	was := m.UIDValidity()
	m.Release()
	list := filepath.Join(root, "dovecot-uidlist")
	text := fmt.Sprintf("3 V%d N8 G0123456789abcdef0123456789abcdef\n7 :1.M1P1.test\n", was+9)
	if err := errors.Join(os.WriteFile(list+".new", []byte(text), 0o600), os.Rename(list+".new", list)); err != nil {
		t.Fatal(err)
	}
	m = open(t, a, "INBOX")
	defer m.Release()
	if n := messages(t, m); n != 1 || m.UIDValidity() != was+9 || m.UIDNext() != 8 {
		t.Errorf("%d messages, UIDVALIDITY %d, UIDNEXT %d", n, m.UIDValidity(), m.UIDNext())
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	// os.Open makes the runtime open its poller, which stays open; ReadDir alone does not,
	// and it might be opened later.
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func openAccount(t *testing.T, s *Store, root string) *Account {
	t.Helper()
	a, err := s.Account(t.Context(), AccountOptions{Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t *testing.T, a *Account, name string) *Mailbox {
	t.Helper()
	m, err := a.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func drop(t *testing.T, root, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "new", name), []byte("Subject: x\n\ntext\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func messages(t *testing.T, m *Mailbox) uint32 {
	t.Helper()
	st, err := m.Status(context.Background(), false, context.Background().Err)
	if err != nil {
		t.Fatal(err)
	}
	return st.Messages
}

// A mailbox that nobody has open is kept ready, and what happens to it meanwhile is found.
func TestIdleMailbox(t *testing.T) {
	s := newStore(t, 1)
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	first := open(t, a, "INBOX")
	first.Release()
	a.Release()
	drop(t, root, "1.M1P1.test")
	a = openAccount(t, s, root)
	defer a.Release()
	again := open(t, a, "inbox")
	if again.Mailbox != first.Mailbox {
		t.Error("the mailbox was not kept")
	}
	if n := messages(t, again); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	again.Release()
	// Another one takes its place.
	if err := a.Tree().Create(t.Context(), "Other", nil); err != nil {
		t.Fatal(err)
	}
	open(t, a, "Other").Release()
	third := open(t, a, "INBOX")
	defer third.Release()
	if third.Mailbox == first.Mailbox {
		t.Error("more mailboxes are kept than were asked for")
	}
}

// TestOpenWaits: a session that waits for another one to open a mailbox continues when it
// need not wait any more, and opens the mailbox itself if the other one gives up.
func TestOpenWaits(t *testing.T) {
	s := newStore(t, 1)
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	defer a.Release()
	lock := filepath.Join(root, "dovecot-uidlist.lock") // of a program that is at work
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := func(opened <-chan error) {
		t.Helper()
		select {
		case err := <-opened:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Open: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Open waits on")
		}
	}
	try := func(ctx context.Context) <-chan error {
		opened := make(chan error, 1)
		go func() {
			box, err := a.Open(ctx, "INBOX")
			if err == nil {
				box.Release()
			}
			opened <- err
		}()
		return opened
	}
	firstCtx, endFirst := context.WithCancel(t.Context())
	first := try(firstCtx)
	for end := time.Now().Add(time.Minute); ; { // until it is at it
		s.mu.Lock()
		n := len(a.boxes)
		s.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody opens it")
		}
		time.Sleep(time.Millisecond)
	}
	secondCtx, endSecond := context.WithCancel(t.Context())
	second, third, fourth := try(secondCtx), try(t.Context()), try(t.Context())
	endSecond()
	ended(second)
	endFirst()
	ended(first)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	for _, opened := range []<-chan error{third, fourth} {
		if err := <-opened; err != nil {
			t.Errorf("Open after another one gave up: %v", err)
		}
	}
}

// Opening a mailbox by its new name does not return the one that ended with the old name.
func TestOpenRenamed(t *testing.T) {
	for _, held := range []bool{true, false} {
		t.Run(fmt.Sprintf("held=%v", held), func(t *testing.T) {
			s := newStore(t, 0)
			ctx := context.Background()
			a := openAccount(t, s, filepath.Join(t.TempDir(), "alice"))
			defer a.Release()
			if err := a.Tree().Create(t.Context(), "Old", nil); err != nil {
				t.Fatal(err)
			}
			old := open(t, a, "Old")
			v, err := old.NewView(ctx, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer old.Release()
			defer v.Close()
			if !held {
				v.Close()
				old.Release()
			}
			if err := a.Rename(ctx, "Old", "New"); err != nil {
				t.Fatal(err)
			}
			m := open(t, a, "New")
			defer m.Release()
			w, err := m.NewView(ctx, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if held {
				if err := v.Poll(ctx); !errors.Is(err, mailbox.ErrReplaced) {
					t.Errorf("the old name: %v, want ErrReplaced", err)
				}
			}
			if err := w.Poll(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Maildir that replaced another one is opened again.
func TestAccountReplaced(t *testing.T) {
	s := newStore(t, 0)
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	open(t, a, "INBOX").Release()
	if err := os.Rename(root, root+".old"); err != nil {
		t.Fatal(err)
	}
	b := openAccount(t, s, root)
	drop(t, root, "1.M1P1.test")
	m := open(t, b, "INBOX")
	if n := messages(t, m); n != 1 || a == b {
		t.Errorf("%d messages", n)
	}
	m.Release()
	a.Release()
	b.Release()
	if _, err := s.Account(t.Context(), AccountOptions{Root: filepath.Join(root, "new", "1.M1P1.test")}); err == nil {
		t.Error("a file was opened as a Maildir")
	}
}

// TestOpenTogether opens, changes and renames the same mailboxes from many goroutines. The
// race detector and the counts of newStore are the test.
func TestOpenTogether(t *testing.T) {
	s := newStore(t, 3)
	ctx := context.Background()
	home := t.TempDir()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(g)))
			for range 60 {
				a := openAccount(t, s, filepath.Join(home, fmt.Sprint(r.IntN(2))))
				name := fmt.Sprintf("Box%d", r.IntN(3))
				switch r.IntN(5) {
				case 0:
					_ = a.Tree().Create(t.Context(), name, nil)
				case 1:
					_ = a.Rename(ctx, name, fmt.Sprintf("Box%d", r.IntN(3)))
				case 2:
					_ = a.Delete(t.Context(), name)
				default:
					if m, err := a.Open(ctx, name); err == nil {
						if v, err := m.NewView(ctx, r.IntN(2) == 0, func() {}); err == nil {
							_ = v.Poll(ctx)
							v.Close()
						}
						m.Release()
					}
				}
				a.Release()
			}
		})
	}
	wg.Wait()
}

// TestTakeoverIsLogged: the operator learns of a lock that was left behind, as by a crash.
func TestTakeoverIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := NewStore(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	t.Cleanup(func() { _ = s.Close() })
	root := filepath.Join(t.TempDir(), "alice")
	a := openAccount(t, s, root)
	defer a.Release()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(root, "dovecot-uidlist.lock")
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%d:%s", dead.Process.Pid, host), 0o600); err != nil {
		t.Fatal(err)
	}
	drop(t, root, "1.M1P1.test")
	m := open(t, a, "INBOX")
	messages(t, m)
	m.Close()
	if got := log.String(); strings.Count(got, "took over a lock") != 1 || !strings.Contains(got, lock) {
		t.Errorf("the log says:\n%s", got)
	}
}
