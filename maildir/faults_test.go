package maildir

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/quota"
	"maildird/scripts/rig/failing"
)

var flagFaults = flag.Bool("faults", false, "have TestFaults try every error at every call")

// faultyAccount is an account whose Maildir's calls fail.
type faultyAccount struct {
	t    *testing.T
	root string
	s    *Store
	a    *Account
	c    *failing.Calls
	n    int

	lasting bool
}

func (w *faultyAccount) deliver() error {
	w.n++
	sp := delivery.NewSpool([]delivery.Target{{Open: w.a.Inbox}}, false, w.s.Delivery())
	_, _ = fmt.Fprintf(sp, "Subject: delivered %d\n\ntext\n", w.n)
	return sp.Commit()[0]
}

// mail returns the texts in all folders, by folder; each text is in a folder only once.
func (w *faultyAccount) mail() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(w.root, func(path string, e fs.DirEntry, err error) error {
		dir := filepath.Dir(path)
		if err != nil || !e.Type().IsRegular() || filepath.Base(dir) != "new" && filepath.Base(dir) != "cur" {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(path, "TRASHED") {
			return err
		}
		if was, again := out[string(text)]; again && !w.lasting {
			w.t.Errorf("%q is in %s and in %s", text, was, path)
		}
		out[string(text)] = filepath.Base(filepath.Dir(dir))
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return out
}

// faultyAccountOps are operations, and checks of their results.
var faultyAccountOps = []struct {
	name  string
	quota quota.Limit
	do    func(w *faultyAccount) error
	check func(w *faultyAccount, err error, before, now map[string]string) string
}{
	{"delivery", quota.Limit{}, (*faultyAccount).deliver, oneMore},
	{"delivery with a quota", quota.Limit{Bytes: 1 << 20}, (*faultyAccount).deliver, oneMore},
	{"delivery to an open mailbox", quota.Limit{}, func(w *faultyAccount) error {
		m, err := w.a.Open(w.t.Context(), "INBOX")
		if err != nil {
			return err
		}
		defer m.Release()
		v, err := m.NewView(w.t.Context(), false, nil)
		if err != nil {
			return err
		}
		defer v.Close()
		if err := w.deliver(); err != nil {
			return err
		}
		if err := v.Poll(w.t.Context()); err != nil {
			return fmt.Errorf("%w, %w", errStored, err)
		}
		return nil
	}, oneMore},
	{"RENAME INBOX", quota.Limit{Bytes: 1 << 20}, func(w *faultyAccount) error { return w.a.Rename(w.t.Context(), "INBOX", "Old") },
		func(w *faultyAccount, err error, before, now map[string]string) string {
			for text, where := range before {
				if now[text] != where && !(where == filepath.Base(w.root) && now[text] == ".Old") {
					return fmt.Sprintf("%q was in %s and is in %q", text, where, now[text])
				}
				if where == filepath.Base(w.root) && now[text] == where && err == nil {
					return fmt.Sprintf("%q was not moved", text)
				}
			}
			return ""
		}},
	{"DELETE", quota.Limit{Bytes: 1 << 20}, func(w *faultyAccount) error { return w.a.Delete(w.t.Context(), "Work") },
		func(w *faultyAccount, err error, before, now map[string]string) string {
			gone := maps.Clone(before)
			maps.DeleteFunc(gone, func(_, where string) bool { return where == ".Work" })
			if err == nil || errors.Is(err, folder.ErrLeftover) {
				before = gone
			}
			if !maps.Equal(before, now) {
				return fmt.Sprintf("%v, want %v", now, before)
			}
			return ""
		}},
	{"CREATE", quota.Limit{}, func(w *faultyAccount) error { return w.a.Create(w.t.Context(), "N", nil) },
		func(w *faultyAccount, err error, before, now map[string]string) string {
			_, statErr := os.Lstat(filepath.Join(w.root, ".N"))
			if (statErr == nil) != (err == nil) {
				return fmt.Sprintf("there: %v", statErr)
			}
			return ""
		}},
}

// errStored means that the message is stored although the next step failed.
var errStored = errors.New("stored")

func oneMore(w *faultyAccount, err error, before, now map[string]string) string {
	want := len(before)
	if err == nil || errors.Is(err, errStored) {
		want++
	}
	if len(now) != want {
		return fmt.Sprintf("%d messages, want %d: %v", len(now), want, now)
	}
	if names := slices.Concat(w.c.Missing(filepath.Join(w.root, "new"), ""), w.c.Missing(w.root, "new")); err == nil && len(names) > 0 {
		return fmt.Sprintf("not durable: %q", names)
	}
	return ""
}

func faultInAccount(t *testing.T, op int, first int, lasting bool, reason error) int {
	o := faultyAccountOps[op]
	w := &faultyAccount{t: t, root: filepath.Join(failing.Dir(t), "alice"), s: newStore(t, -1), lasting: lasting}
	w.s.env.Fsync, w.s.env.Delivery.Fsync = true, true
	opt := AccountOptions{Root: w.root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/', Fsync: true}, Quota: o.quota}
	a, err := w.s.Account(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	w.a = a
	defer func() { w.a.Release() }()
	if err := errors.Join(a.Create(t.Context(), "Work", nil), w.deliver(), w.deliver()); err != nil {
		t.Fatal(err)
	}
	for i, dir := range []string{"new", ".Work/cur", ".Work/new"} {
		if err := os.WriteFile(filepath.Join(w.root, dir, fmt.Sprintf("%d.M1P1.other", i)), fmt.Appendf(nil, "Subject: %s\n\ntext\n", dir), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Quota().Usage(); err != nil {
		t.Fatal(err)
	}
	a.inbox.drop() // opened before the calls can fail
	w.c = failing.New(w.root)
	a.root.Before(w.c.Before)
	before := w.mail()
	w.c.Begin(first, lasting, reason)
	err = o.do(w)
	calls, failed := w.c.End()
	defer func() {
		if t.Failed() {
			t.Logf("answer: %v\nfailed: %q\ncalls:\n%s", err, failed, w.c.Log())
		}
	}()
	if len(failed) == 0 && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if err != nil && (!errors.Is(err, reason) && !errors.Is(err, mailbox.ErrReadOnly) || !strings.Contains(err.Error(), w.root)) {
		t.Errorf("the error does not tell what is wrong: %v", err)
	}
	if !*flagFaults {
		for _, dir := range []string{"", ".Old", ".Work"} {
			_ = os.Remove(filepath.Join(w.root, dir, "dovecot-uidlist.lock"))
		}
	}
	// If nothing can be removed either, a copy stays: the error or the log says so.
	stuck := lasting && err != nil && slices.ContainsFunc(failed, func(call string) bool {
		return strings.HasPrefix(call, "remove ") || strings.HasPrefix(call, "create ")
	})
	if !stuck {
		if what := o.check(w, err, before, w.mail()); what != "" {
			t.Errorf("after %v: %s", err, what)
		}
	}
	for _, name := range []string{"INBOX", "Work", "Old"} {
		m, err := a.Open(t.Context(), name)
		if errors.Is(err, folder.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Errorf("%s cannot be opened: %v", name, err)
			continue
		}
		in := 0
		for _, sub := range []string{"cur", "new"} {
			files, _ := os.ReadDir(filepath.Join(w.root, map[string]string{"Work": ".Work", "Old": ".Old"}[name], sub))
			in += len(files)
		}
		if n := messages(t, m); int(n) != in {
			t.Errorf("%s has %d messages, on disk are %d", name, n, in)
		}
		m.Release()
	}
	was := len(w.mail())
	if err := w.deliver(); err != nil {
		t.Errorf("delivery when the fault has ended: %v", err)
	} else if n := len(w.mail()); n != was+1 && !stuck {
		t.Errorf("%d messages after a delivery, before it %d", n, was)
	}
	return calls
}

// TestFaults: whichever system call of a delivery or of a change of folders fails, the
// reported result is true, nothing is lost, and the account works once the fault has ended.
func TestFaults(t *testing.T) {
	for i, o := range faultyAccountOps {
		t.Run(o.name, func(t *testing.T) {
			calls := 0
			t.Run("none", func(t *testing.T) { calls = faultInAccount(t, i, -1, false, nil) })
			for first := range calls {
				for r, reason := range failing.Reasons {
					for n, lasting := range []bool{false, true} {
						if reason == syscall.EACCES { // a lock that may not be opened is waited for
							continue
						}
						if !*flagFaults && (first%3 != 0 || n != first/3%2 || r != first/3%len(failing.Reasons)) {
							continue
						}
						t.Run(fmt.Sprintf("%d, %v, lasting %v", first, reason, lasting), func(t *testing.T) {
							faultInAccount(t, i, first, lasting, reason)
						})
					}
				}
			}
		})
	}
}

// TestFaultsOfFirstDelivery: a Maildir that could not be created durably is created by the
// next attempt.
func TestFaultsOfFirstDelivery(t *testing.T) {
	opt := folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/', Fsync: true}
	defaults := []folder.Default{{Name: "Sent", SpecialUse: `\Sent`}, {Name: "Trash", SpecialUse: `\Trash`}}
	try := func(t *testing.T, first int, lasting bool, reason error) int {
		path := failing.Dir(t)
		c := failing.New(path)
		root, err := dirfd.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		root.Before(c.Before)
		c.Begin(first, lasting, reason)
		err = folder.Provision(t.Context(), root, opt, defaults)
		calls, failed := c.End()
		if err != nil {
			if !errors.Is(err, reason) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not tell what is wrong: %v", err)
			}
			for _, lock := range []string{"subscriptions.lock", "maildird-specialuse.lock"} {
				if os.Remove(filepath.Join(path, lock)) == nil && !lasting {
					t.Errorf("left behind: %s", lock)
				}
			}
			err = folder.Provision(t.Context(), root, opt, defaults)
		}
		if err != nil {
			t.Errorf("again: %v", err)
		}
		for _, name := range []string{"cur", "new", "tmp", ".Sent", ".Trash", "subscriptions", "maildird-specialuse"} {
			if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
				// What exists of INBOX is completed when it is opened.
				if !lasting || name != "cur" && name != "tmp" {
					t.Error(err)
				}
			} else if names := c.Missing(path, name); len(names) > 0 && !lasting {
				t.Errorf("not durable: %q", names)
			}
		}
		if t.Failed() {
			t.Logf("failed: %q\ncalls:\n%s", failed, c.Log())
		}
		return calls
	}
	calls := try(t, -1, false, nil)
	for first := range calls {
		for _, lasting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, lasting %v", first, lasting), func(t *testing.T) { try(t, first, lasting, failing.Reasons[0]) })
		}
	}
}
