package mailbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
	"maildird/scripts/rig/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog shows what the mailbox logs if the test fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// newEnv returns what the mailboxes of one process share.
func newEnv(t testing.TB) *Env {
	log := slog.New(slog.NewTextHandler(testLog{t}, nil))
	env := &Env{
		Log: log, Now: time.Now, Watcher: watch.New(log), Locker: dotlock.NewLocker("host.test"),
		Delivery: &delivery.Options{Host: "host.test", PID: os.Getpid(), Now: time.Now},
	}
	t.Cleanup(func() { must(t, env.Watcher.Close()) })
	return env
}

// unwatched returns an environment without file-system events.
func unwatched(t testing.TB) *Env {
	env := newEnv(t)
	must(t, env.Watcher.Close())
	return env
}

// box is a folder under test: what is on disk, seen from outside.
type box struct {
	t    testing.TB
	path string
	n    int
}

func newBox(t testing.TB) *box { return newBoxIn(t, t.TempDir()) }

func newBoxIn(t testing.TB, dir string) *box {
	b := &box{t: t, path: filepath.Join(dir, "box")}
	for _, d := range []string{"", "cur", "new", "tmp"} {
		must(t, os.Mkdir(filepath.Join(b.path, d), 0o700))
	}
	return b
}

// open opens the folder as a process would.
func (b *box) open(env *Env) *Mailbox {
	b.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} { // as the tree of folders does
		_ = os.Mkdir(b.file(sub), 0o700)
	}
	return b.openWith(env, nil)
}

func (b *box) file(rel string) string { return filepath.Join(b.path, rel) }

// drop adds a message as cp or another program would, and returns its path below the
// folder.
func (b *box) drop(rel string) string {
	b.t.Helper()
	if strings.HasSuffix(rel, "/") {
		b.n++
		rel += fmt.Sprintf("17%08d.M%dP1.other", b.n, b.n)
		if strings.HasPrefix(rel, "cur/") {
			rel += ":2,"
		}
	}
	text := fmt.Sprintf("Subject: %s\n\nhello\n", filepath.Base(rel))
	tmp := b.file("tmp/" + filepath.Base(rel))
	must(b.t, os.WriteFile(tmp, []byte(text), 0o600))
	must(b.t, os.Rename(tmp, b.file(rel)))
	return rel
}

func (b *box) rename(from, to string) {
	b.t.Helper()
	must(b.t, os.Rename(b.file(from), b.file(to)))
}

func (b *box) remove(rel string) {
	b.t.Helper()
	must(b.t, os.Remove(b.file(rel)))
}

// files lists new/ and cur/ as paths below the folder.
func (b *box) files() map[string]bool {
	b.t.Helper()
	out := map[string]bool{}
	for _, d := range []string{"new", "cur"} {
		names, err := os.ReadDir(b.file(d))
		must(b.t, err)
		for _, n := range names {
			out[d+"/"+n.Name()] = true
		}
	}
	return out
}

// client is a view, together with what an IMAP client would know from what it was told.
type client struct {
	t    testing.TB
	v    *View
	uids []uint32 // by sequence number
	woke chan struct{}
}

// session opens the folder, and a session in it that may change it, until the end of the test.
func (b *box) session(env *Env) *client {
	b.t.Helper()
	m := b.open(env)
	b.t.Cleanup(m.Close)
	c := connect(b.t, m, false)
	b.t.Cleanup(c.v.Close)
	return c
}

// beside opens two folders until the end of the test: b, where f is in the way while it is on, with
// a session that may change it, and to.
func (b *box) beside(to *box, env *Env, f *hooked) (c *client, there *Mailbox) {
	b.t.Helper()
	m, there := b.openWith(env, f.before), to.open(env)
	b.t.Cleanup(m.Close)
	b.t.Cleanup(there.Close)
	c = connect(b.t, m, false)
	b.t.Cleanup(c.v.Close)
	return c, there
}

func connect(t testing.TB, m *Mailbox, readOnly bool) *client {
	t.Helper()
	c := &client{t: t, woke: make(chan struct{}, 1)}
	v, err := m.NewView(ctx, readOnly, func() {
		select {
		case c.woke <- struct{}{}:
		default:
		}
	})
	must(t, err)
	c.v = v
	c.uids = c.list()
	return c
}

func (c *client) all() []Message {
	var out []Message
	for m := range c.v.Messages([]Range{{1, ^uint32(0)}}, true) {
		out = append(out, m)
	}
	return out
}

func (c *client) list() []uint32 {
	var uids []uint32
	for i, m := range c.all() {
		if int(m.Seq) != i+1 {
			c.t.Fatalf("message %d of the view has sequence number %d", i+1, m.Seq)
		}
		uids = append(uids, m.UID)
	}
	return uids
}

// poll looks at the files and applies the updates as a client would; it returns them as
// text: "exists 3", "expunge 2", "flags 1 S".
func (c *client) poll(expunges bool) []string {
	c.t.Helper()
	must(c.t, c.v.Poll(ctx))
	var out []string
	c.v.Updates(holdUnless(expunges), func(u Update) {
		switch u.Kind {
		case Expunge:
			if u.Seq == 0 || int(u.Seq) > len(c.uids) || c.uids[u.Seq-1] != u.UID {
				c.t.Fatalf("told EXPUNGE %d for UID %d, the client has %v", u.Seq, u.UID, c.uids)
			}
			c.uids = append(c.uids[:u.Seq-1:u.Seq-1], c.uids[u.Seq:]...)
			out = append(out, fmt.Sprint("expunge ", u.Seq))
		case Exists:
			if int(u.Count) < len(c.uids) {
				c.t.Fatalf("told EXISTS %d, the client has %d", u.Count, len(c.uids))
			}
			c.uids = c.list()
			out = append(out, fmt.Sprint("exists ", u.Count))
			if len(c.uids) != int(u.Count) {
				c.t.Fatalf("told EXISTS %d, the view has %d", u.Count, len(c.uids))
			}
		case Flags:
			if c.uids[u.Seq-1] != u.UID {
				c.t.Fatalf("told FETCH %d for UID %d, the client has %v", u.Seq, u.UID, c.uids)
			}
			out = append(out, fmt.Sprintf("flags %d %s", u.Seq, strings.TrimPrefix(filename.WithFlags("", u.Message.Flags), ":2,")))
		case Recent:
			out = append(out, fmt.Sprint("recent ", u.Count))
		case KeywordsChanged:
			out = append(out, "keywords")
		}
	})
	return out
}

// holdUnless returns what is held back unless expunges may be reported.
func holdUnless(expunges bool) Hold {
	if expunges {
		return 0
	}
	return HoldExpunges
}

// openWith opens the folder as a process before whose system calls f is called.
func (b *box) openWith(env *Env, f func(op, path string) error) *Mailbox {
	b.t.Helper()
	dir, err := dirfd.Open(b.path)
	must(b.t, err)
	dir.Before(f)
	m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
		v, err := uidlist.NextValidity(dir, env.Now(), false)
		return v, nil, err
	}, nil)
	must(b.t, err)
	return m
}

// hooked makes the system calls on a folder fail for which wrong returns an error, while on
// is set.
type hooked struct {
	on    atomic.Bool
	wrong func(op, path string) error
}

func (f *hooked) before(op, path string) error {
	if !f.on.Load() {
		return nil
	}
	return f.wrong(op, path)
}

// openText opens a message for a test that closes it.
func openText(v *View, m Message) (*File, error) {
	f := new(File)
	if err := v.Open(f, m, noRoom); err != nil {
		return nil, err
	}
	return f, nil
}
