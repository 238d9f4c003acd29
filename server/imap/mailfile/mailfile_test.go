package mailfile

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir"
	"maildird/maildir/cache"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

const mail = "Subject: hello\nContent-Type: text/plain\n\nbody\n"

// openInbox opens an INBOX with one message, and returns the path of its file.
func openInbox(t *testing.T) (view *mailbox.View, m mailbox.Message, path string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "mail")
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(root, "cur", "1.M1P1.host:2,S")
	if err := os.WriteFile(path, []byte(mail), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour) // little is kept of a file that was just created
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	store := maildir.NewStore(maildir.Options{Host: "test", CacheDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	account, err := store.Account(t.Context(), maildir.AccountOptions{Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}})
	if err != nil {
		t.Fatal(err)
	}
	box, err := account.Open(context.Background(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if view, err = box.NewView(context.Background(), true, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		view.Close()
		box.Release()
		account.Release()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for m = range view.Messages([]mailbox.Range{{First: 1, Last: 1}}, true) {
		return view, m, path
	}
	t.Fatal("there is no message")
	return nil, m, ""
}

// remembered passes what was read of a message to the cache, closes it, and returns
// the resulting cache record.
func remembered(t *testing.T, view *mailbox.View, f *File) cache.Record {
	t.Helper()
	m := f.m
	writes := view.Cached()
	f.Remember()
	f.Close()
	writes.Close()
	cached := view.Cached()
	t.Cleanup(cached.Close)
	rec, _ := cached.Read(m)
	return rec
}

func never() error { return nil }

// TestFileReadsOnce: a repeated request for a message is answered without its file, also by a
// new File that gets the cache record.
func TestFileReadsOnce(t *testing.T) {
	view, m, path := openInbox(t)
	const header = "Subject: hello\r\nContent-Type: text/plain\r\n\r\n"
	kinds := cache.Header.Set() | cache.BodyStructure.Set() | cache.Preview.Set()

	f := New(view, m, nil, cache.Record{}, never)
	if _, ok := f.CachedHeader(); ok || f.Opened() {
		t.Error("a message of which nothing is known has a header, or an open file")
	}
	if err := f.Provide(kinds); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check := func(f *File) {
		t.Helper()
		if got, err := f.Header(); err != nil || string(got) != header {
			t.Errorf("header %q, %v", got, err)
		}
		if got, err := f.Preview(); err != nil || got != "body" {
			t.Errorf("preview %q, %v", got, err)
		}
		if _, err := f.Rendering(cache.BodyStructure); err != nil {
			t.Errorf("BODYSTRUCTURE: %v", err)
		}
	}
	check(f)
	if want := int64(len(mail) + strings.Count(mail, "\n")); f.Text() == nil {
		t.Error("a short message is not in memory")
	} else if n, err := f.Size(); err != nil || n != want {
		t.Errorf("%d octets in CRLF form, %v; want %d", n, err, want)
	}
	rec := remembered(t, view, f)
	if rec.Has()&kinds != kinds {
		t.Fatalf("the cache has %b of the message, not %b", rec.Has(), kinds)
	}
	f = New(view, m, nil, rec, never)
	defer f.Close()
	check(f)
	if f.Opened() {
		t.Error("the file was opened for what the cache has")
	}
}

// TestChangedFileIsReadAnew: the cache record of a file that was changed in place is ignored
// when the file is opened.
func TestChangedFileIsReadAnew(t *testing.T) {
	view, m, path := openInbox(t)
	f := New(view, m, nil, cache.Record{}, never)
	if err := f.Provide(cache.Header.Set()); err != nil {
		t.Fatal(err)
	}
	rec := remembered(t, view, f)
	if err := os.WriteFile(path, []byte("Subject: another\n\ntext\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = New(view, m, nil, rec, never)
	defer f.Close()
	if err := f.Open(true); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Header(); err != nil || !strings.HasPrefix(string(got), "Subject: another\r\n") {
		t.Errorf("header %q, %v", got, err)
	}
}

// TestKnownPartsAreFew: a session remembers the parts of the last message, but not if they take
// megabytes, which each of many idle sessions would hold.
func TestKnownPartsAreFew(t *testing.T) {
	for parts, kept := range map[int]bool{20: true, 3000: false} {
		view, m, path := openInbox(t)
		text := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Description: "+strings.Repeat("d", 200)+"\n\nx\n", parts) + "--b--\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var known Known
		f := New(view, m, &known, cache.Record{}, never)
		root, err := f.Structure()
		if err != nil || len(root.Children) != parts {
			t.Fatalf("not %d parts: %v", parts, err)
		}
		f.Close()
		if (known.root != nil) != kept {
			t.Errorf("%d parts, %d octets: kept: %t", parts, root.Memory(), !kept)
		}
	}
}
