package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
	"maildird/maildir/walk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// maildirAt makes a Maildir with folders (".A", or "A" of the layout fs).
func maildirAt(t *testing.T, root string, folders ...string) {
	t.Helper()
	for _, f := range append(folders, "") {
		for _, sub := range walk.MailDirs {
			must(t, os.MkdirAll(filepath.Join(root, f, sub), 0o700))
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func take(t *testing.T, root, dest string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Take(ctx, Options{Root: root, Dest: dest, Locker: dotlock.NewLocker("")})
	must(t, err)
	return r
}

// messages maps each base in a folder to its names.
func messages(t *testing.T, folder string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(folder, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		must(t, err)
		for _, e := range entries {
			base := filename.Base(e.Name())
			found[base] = append(found[base], sub+"/"+e.Name())
		}
	}
	return found
}

// uids maps each base in a folder's uidlist to its UID.
func uids(t *testing.T, folder string) (map[string]uint32, uidlist.Header) {
	t.Helper()
	d, err := dirfd.Open(folder)
	must(t, err)
	defer d.Close()
	list := uidlist.New(d, uidlist.Options{})
	found := map[string]uint32{}
	_, err = list.Refresh(func(r uidlist.Record) { found[r.Base] = r.UID })
	must(t, err)
	return found, list.Header()
}

// actors work on the folders of a Maildir until they are stopped.
type actors struct {
	root    string
	folders []string
	pause   atomic.Int64 // average time between two actions of one actor, in ns
	moving  sync.Map     // bases of messages that a mover is working on
	stop    chan struct{}
	running sync.WaitGroup
}

func (a *actors) start(n int, act func(r *rand.Rand, a *actors) error, t *testing.T) {
	for i := range n {
		a.running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for {
				select {
				case <-a.stop:
					return
				case <-time.After(time.Duration(rand.N(2 * a.pause.Load()))):
				}
				if err := act(r, a); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
					return
				}
			}
		})
	}
}

func (a *actors) some(r *rand.Rand) (folder, sub, name string, err error) {
	folder = filepath.Join(a.root, a.folders[r.IntN(len(a.folders))])
	sub = "cur"
	entries, err := os.ReadDir(filepath.Join(folder, sub))
	if err != nil || len(entries) == 0 {
		return "", "", "", fs.ErrNotExist
	}
	return folder, sub, entries[r.IntN(len(entries))].Name(), nil
}

// renamer changes flags as mutt does, without a lock.
func renamer(r *rand.Rand, a *actors) error {
	folder, sub, name, err := a.some(r)
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(folder, sub, name),
		filepath.Join(folder, "cur", filename.WithFlags(name, filename.Flags(r.Uint32())&filename.Seen|filename.Flags(r.Uint32())&filename.Flagged)))
}

// mover moves a message to another folder: by a rename, as mv does, or by a link there and
// an unlink here, each under the folder's lock, as servers do.
func mover(locker *dotlock.Locker, t *testing.T) func(r *rand.Rand, a *actors) error {
	return func(r *rand.Rand, a *actors) error {
		folder, sub, name, err := a.some(r)
		if err != nil {
			return err
		}
		to := filepath.Join(a.root, a.folders[r.IntN(len(a.folders))])
		if to == folder {
			return nil
		}
		// Two that move the same message to the same folder can leave it there under two
		// names, which no snapshot merges.
		base := filename.Base(name)
		if _, busy := a.moving.LoadOrStore(base, true); busy {
			return nil
		}
		defer a.moving.Delete(base)
		if r.IntN(4) == 0 {
			return os.Rename(filepath.Join(folder, sub, name), filepath.Join(to, "cur", name))
		}
		if err := locked(t, locker, to, func() error {
			return os.Link(filepath.Join(folder, sub, name), filepath.Join(to, "cur", name))
		}); err != nil {
			return err
		}
		return locked(t, locker, folder, func() error { return removeBase(filepath.Join(folder, sub), base) })
	}
}

// removeBase unlinks a message whatever its flags are by now.
func removeBase(dir, base string) error {
	for range 100 {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if filename.Base(e.Name()) == base && os.Remove(filepath.Join(dir, e.Name())) == nil {
				return nil
			}
		}
	}
	return nil
}

func locked(t *testing.T, locker *dotlock.Locker, folder string, f func() error) error {
	d, err := dirfd.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	lock, err := locker.Acquire(t.Context(), d, lockName, dotlock.Options{Timeout: time.Minute})
	if err != nil {
		return err
	}
	return errors.Join(f(), lock.Release())
}

// TestMoveNeverInNone: while programs with and without locks move messages between all
// folders and change flags, each snapshot has every message, each under one name in a
// folder, and with a UID; except on a machine so slow that a folder's lock could not be
// acquired in the allowed number of passes, which is noted.
func TestMoveNeverInNone(t *testing.T) {
	t.Run("events", func(t *testing.T) { moveNeverInNone(t, false) })
	t.Run("times", func(t *testing.T) { moveNeverInNone(t, true) })
}

func moveNeverInNone(t *testing.T, noEvents bool) {
	root, dest := t.TempDir(), t.TempDir()
	folders := []string{"", ".A", ".B", ".B.C", ".D"}
	maildirAt(t, root, folders...)
	const count = 400
	want := map[string]bool{}
	for i := range count {
		base := fmt.Sprintf("%d.M%dP1.host", 1700000000+i, i)
		want[base] = true
		write(t, filepath.Join(root, folders[i%len(folders)], "cur", base+":2,"), base)
	}
	a := &actors{root: root, folders: folders, stop: make(chan struct{})}
	a.pause.Store(int64(2 * time.Millisecond))
	locker := dotlock.NewLocker("")
	if noEvents {
		a.pause.Store(int64(60 * time.Millisecond))
	}
	a.start(2, renamer, t)
	a.start(3, mover(locker, t), t)
	defer func() { close(a.stop); a.running.Wait() }()
	for round := range 5 {
		opt := Options{Root: root, Dest: dest, Locker: locker}
		take := func() (Result, error) { return Take(t.Context(), opt) }
		if noEvents {
			take = func() (Result, error) { return takeSlowing(t, a, opt) }
		}
		r, err := take()
		must(t, err)
		t.Logf("round %d: %d passes, %d messages, longest lock %v", round, r.Passes, r.Messages, r.LongestLock)
		got := map[string]int{}
		for _, f := range folders {
			list, _ := uids(t, filepath.Join(r.Path, f))
			for base, names := range messages(t, filepath.Join(r.Path, f)) {
				got[base]++
				if len(names) != 1 {
					t.Errorf("round %d: %s has %s under %d names: %v", round, walk.Title(f), base, len(names), names)
				}
				if list[base] == 0 && !withoutLock(r, f) {
					t.Errorf("round %d: %s has no UID in %s", round, base, walk.Title(f))
				}
			}
		}
		for base := range want {
			if got[base] == 0 {
				t.Errorf("round %d: %s is in no folder of the copy", round, base)
			}
		}
		if len(got) != count {
			t.Errorf("round %d: %d messages of %d", round, len(got), count)
		}
	}
}

// withoutLock reports whether a result says that a folder's lock could not be acquired.
func withoutLock(r Result, folder string) bool {
	return r.Passes >= alonePasses && slices.ContainsFunc(r.Notes, func(note string) bool {
		folders, what, _ := strings.Cut(note, ": ")
		return (slices.Contains(strings.Split(folders, ", "), walk.Title(folder)) || strings.HasSuffix(folders, " more")) &&
			(strings.HasPrefix(what, "copied without the lock") || strings.HasPrefix(what, "new messages could not be given UIDs"))
	})
}

// takeSlowing is Take without events, which needs pauses in what the actors do: if the
// machine is too slow to find one within some time, they make longer ones.
func takeSlowing(t *testing.T, a *actors, opt Options) (Result, error) {
	opt.noEvents = true
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		r, err := Take(ctx, opt)
		cancel()
		if pause := a.pause.Load(); errors.Is(err, context.DeadlineExceeded) && pause < int64(5*time.Second) {
			t.Logf("no gap between acts of %v on average", time.Duration(pause)/5)
			a.pause.Store(2 * pause)
			continue
		}
		return r, err
	}
}

// TestOverflow: the kernel drops events, because there are too many, while their directory is
// listed. A message that arrives among them after the names were read is in the copy.
func TestOverflow(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var events int
	_, err = fmt.Sscan(string(limit), &events)
	must(t, err)
	root, dest := t.TempDir(), t.TempDir()
	maildirAt(t, root)
	cur := filepath.Join(root, "cur")
	for i := range 100 {
		write(t, filepath.Join(cur, fmt.Sprintf("%d.x:2,", i)), "message")
	}
	begun := false
	r, err := Take(t.Context(), Options{Root: root, Dest: dest, Locker: dotlock.NewLocker(""), before: func(op, path string) error {
		if op == "link" && filepath.Dir(path) == cur && !begun {
			begun = true
			a, b := filepath.Join(cur, "0.x:2,"), filepath.Join(cur, "0.x:2,S")
			for range events/4 + 1 { // four events each
				if err := errors.Join(os.Rename(a, b), os.Rename(b, a)); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(cur, "late.x:2,"), nil, 0o600)
		}
		return nil
	}})
	must(t, err)
	if got := len(messages(t, r.Path)); got != 101 || !begun {
		t.Errorf("the copy has %d messages of 101: %+v", got, r)
	}
}
