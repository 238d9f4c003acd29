package mailbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// arrive waits until the events of everything done so far were received, however slow the
// machine is.
func arrive(t *testing.T, env *Env) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !env.Watcher.Barrier(ctx); {
		if time.Now().After(end) {
			t.Fatal("events do not come")
		}
	}
}

// TestRemovedWhileListed: a file that is removed between being listed and being entered in
// the table does not stay in the mailbox, even though the event for the removal came when
// the table did not know the file.
func TestRemovedWhileListed(t *testing.T) {
	b, env := newBox(t), newEnv(t)
	doomed := b.drop("cur/")
	b.drop("cur/")
	dir, err := dirfd.Open(b.path)
	must(t, err)
	m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
		b.remove(doomed) // the list of UIDs is about to be written
		arrive(t, env)
		return 17, nil, nil
	}, nil)
	must(t, err)
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	if c.poll(true); len(c.uids) != 1 {
		t.Errorf("there are %d messages, want 1", len(c.uids))
	}
}

// TestCopiedAsFlaggedNow: a copy has the flags that another program gave the original since
// the last look.
func TestCopiedAsFlaggedNow(t *testing.T) {
	for how, do := range map[string]func(v *View, dst *Mailbox) (Copied, error){
		"COPY": func(v *View, dst *Mailbox) (Copied, error) { return v.Copy(ctx, []uint32{1}, dst) },
		"MOVE": func(v *View, dst *Mailbox) (Copied, error) { return v.Move(ctx, []uint32{1}, dst) },
	} {
		t.Run(how, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				a, b := newBox(t), newBox(t)
				rel := a.drop("cur/")
				m, dst := a.open(env), b.open(env)
				defer m.Close()
				defer dst.Close()
				c, d := connect(t, m, false), connect(t, dst, false)
				defer c.v.Close()
				defer d.v.Close()
				a.rename(rel, rel+"R")
				_, err := do(c.v, dst)
				must(t, err)
				d.poll(true)
				if all := d.all(); len(all) != 1 || all[0].Flags != filename.Answered {
					t.Errorf("the other folder has %v, files %v", all, b.files())
				}
			})
		})
	}
}

// TestFlaggedWhileMoved: the flags that another program changes after a message was copied
// and before it is removed are those of the moved message, whichever they are.
func TestFlaggedWhileMoved(t *testing.T) {
	for _, c := range []struct{ was, is string }{
		{"", "DFPRST"}, {"DFPRST", ""}, {"", "P"}, {"P", ""}, {"FP", "PR"}, {"", "a"}, {"a", "P"}, {"P", "a"}, {"Pa", "a"}, {"a", "Pa"},
	} {
		t.Run(c.was+" "+c.is, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				b, to := newBox(t), newBox(t)
				must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("0 word\n"), 0o600))
				const base = "cur/1700000001.M1P1.h:2,"
				b.drop(base + c.was)
				moved := false
				f := &hooked{wrong: func(op, path string) error {
					if op == "remove" && strings.Contains(path, "/cur/") && !moved {
						moved = true
						b.rename(base+c.was, base+c.is)
					}
					return nil
				}}
				client, dst := b.beside(to, env, f)
				d := connect(t, dst, false)
				defer d.v.Close()
				f.on.Store(true)
				_, err := client.v.Move(ctx, client.uids, dst)
				must(t, err)
				f.on.Store(false)
				d.poll(true)
				all := d.all()
				if len(all) != 1 || !moved {
					t.Fatalf("the other folder has %v", all)
				}
				has := map[string]bool{}
				all[0].Flags.EachKeyword(func(i int) {
					if name, ok := d.v.KeywordName(i); ok {
						has[name] = true
					}
				})
				system := all[0].Flags &^ filename.Keywords
				forwards := has[forwarded] || system&filename.Passed != 0
				want := filename.FlagsOf(":2," + c.is)
				if system&^filename.Passed != want&^filename.Keywords&^filename.Passed || forwards != (want&filename.Passed != 0) || has["word"] != strings.Contains(c.is, "a") {
					t.Errorf("flags %q were made %q, the moved message has %v %v, files %v", c.was, c.is, system, has, to.files())
				}
			})
		})
	}
}

// TestFlaggedWhileMovedToFull: if the other folder has no letter for one of the keywords,
// the moved messages get all other flags.
func TestFlaggedWhileMovedToFull(t *testing.T) {
	b, to := newBox(t), newBox(t)
	must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("0 word\n1 other\n"), 0o600))
	var words strings.Builder
	for i := range filename.MaxKeywords {
		fmt.Fprintf(&words, "%d word%s\n", i, strings.Repeat("x", i))
	}
	must(t, os.WriteFile(to.file("dovecot-keywords"), []byte(words.String()), 0o600))
	names := []string{b.drop("cur/"), b.drop("cur/")}
	moved := false
	f := &hooked{wrong: func(op, path string) error {
		if op == "remove" && strings.Contains(path, "/cur/") && !moved {
			moved = true
			b.rename(names[0], names[0]+"Fab")
			b.rename(names[1], names[1]+"S")
		}
		return nil
	}}
	env := newEnv(t)
	client, dst := b.beside(to, env, f)
	d := connect(t, dst, false)
	defer d.v.Close()
	f.on.Store(true)
	_, err := client.v.Move(ctx, client.uids, dst)
	must(t, err)
	f.on.Store(false)
	d.poll(true)
	var got []filename.Flags
	for _, msg := range d.all() {
		got = append(got, msg.Flags)
	}
	if want := []filename.Flags{filename.Flagged | filename.Keyword(0), filename.Seen}; !moved || !slices.Equal(got, want) {
		t.Errorf("the moved messages have flags %v, want %v", got, want)
	}
}

// TestChangedBeforeWatch: a file that is renamed or removed after the folder was listed, and
// before it is watched, has its new name in the mailbox, or is gone from it.
func TestChangedBeforeWatch(t *testing.T) {
	scan := func(t *testing.T, change func(b *box, rel string)) (m *Mailbox, rel string) {
		b, env := newBox(t), newEnv(t)
		rel = b.drop("cur/")
		b.settle()
		m = b.open(env)
		t.Cleanup(m.Close)
		must(t, m.acquire(ctx))
		defer m.release()
		m.watch.drop()
		m.watch.pending = make(chan []*watch.Watch)
		go func() {
			time.Sleep(100 * time.Millisecond) // the listing takes less, or shows the change
			change(b, rel)
			m.watch.pending <- m.watch.add()
		}()
		must(t, m.scan(ctx, nil))
		if !m.watch.on {
			t.Error("the folder is not watched")
		}
		return m, rel
	}
	t.Run("renamed", func(t *testing.T) {
		m, rel := scan(t, func(b *box, rel string) { _ = os.Rename(b.file(rel), b.file(rel+"F")) })
		if got := "cur/" + m.nameOf(0); got != rel+"F" {
			t.Errorf("the file is %s for the mailbox, and was renamed to %sF", got, rel)
		}
	})
	t.Run("removed", func(t *testing.T) {
		m, rel := scan(t, func(b *box, rel string) { _ = os.Remove(b.file(rel)) })
		must(t, m.Poll(ctx))
		if n := m.t.Count(); n != 0 {
			t.Errorf("the mailbox still has %s", rel)
		}
	})
}

// TestRemovedWhileRecorded is the same for mail that arrives in an open mailbox, by others
// and by APPEND: another program removes it once it has its UID.
func TestRemovedWhileRecorded(t *testing.T) {
	for name, add := range map[string]func(*testing.T, *box, *Mailbox){
		"delivery": func(_ *testing.T, b *box, _ *Mailbox) { b.drop("cur/") },
		"APPEND": func(t *testing.T, _ *box, m *Mailbox) {
			in, err := m.NewIncoming(AppendOptions{Flags: filename.Seen})
			must(t, err)
			_, _, err = m.Append(ctx, Taken{}, in)
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, env := newBox(t), newEnv(t)
			b.drop("cur/")
			var armed func()
			var mu sync.Mutex
			env.Now = func() time.Time { // uidlist asks for it when it has written
				mu.Lock()
				fire := armed
				if list, _ := os.ReadFile(b.file(uidlist.Name)); fire != nil && strings.Contains(string(list), "\n2 :") {
					armed = nil
				} else {
					fire = nil
				}
				mu.Unlock()
				if fire != nil {
					fire()
				}
				return time.Now()
			}
			m := b.open(env)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			c.rest()
			mu.Lock()
			armed = func() {
				for rel := range b.files() {
					if !strings.Contains(rel, ".M1P1.other") {
						b.remove(rel)
					}
				}
				arrive(t, env)
			}
			mu.Unlock()
			add(t, b, m)
			c.rest()
			c.poll(true)
			mu.Lock()
			if armed != nil {
				t.Error("nothing was removed")
			}
			mu.Unlock()
			if len(c.uids) != 1 {
				t.Errorf("there are %d messages, want 1", len(c.uids))
			}
		})
	}
}
