package mailbox

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

func (b *box) write(rel, text string) {
	b.t.Helper()
	// As a program that rewrites a file does it.
	must(b.t, os.WriteFile(b.file(rel+".other"), []byte(text), 0o600))
	must(b.t, os.Rename(b.file(rel+".other"), b.file(rel)))
}

func (b *box) read(rel string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.file(rel))
	must(b.t, err)
	return string(text)
}

const someGUID = "0123456789abcdef0123456789abcdef"

// TestListDamagedWhileOpen: whatever happens to the list, sessions keep their UIDs, and the
// list has them again after the next change.
func TestListDamagedWhileOpen(t *testing.T) {
	for name, damage := range map[string]func(b *box){
		"removed":            func(b *box) { b.remove(uidlistName) },
		"emptied":            func(b *box) { b.write(uidlistName, "") },
		"header overwritten": func(b *box) { b.write(uidlistName, strings.Replace(b.read(uidlistName), "3 V", "\x00\x00\x00", 1)) },
		"records cut off": func(b *box) {
			text := b.read(uidlistName)
			b.write(uidlistName, text[:strings.Index(text, "\n2 ")+3])
		},
		"cut off in place": func(b *box) {
			must(b.t, os.Truncate(b.file(uidlistName), int64(strings.Index(b.read(uidlistName), "\n2 ")+3)))
		},
		"a record lost": func(b *box) {
			text := b.read(uidlistName)
			i := strings.Index(text, "\n2 ")
			b.write(uidlistName, text[:i]+text[i+1+strings.IndexByte(text[i+1:], '\n'):])
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for range 4 {
				b.drop("cur/")
			}
			m := b.open(newEnv(t))
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			validity := m.UIDValidity()
			damage(b)
			b.drop("new/")
			wantUpdates(t, c.poll(true), "exists 5", "recent 5")
			if want := []uint32{1, 2, 3, 4, 5}; !slices.Equal(c.uids, want) || m.UIDValidity() != validity {
				t.Errorf("UIDs %v under UIDVALIDITY %d, it was %d", c.uids, m.UIDValidity(), validity)
			}
			// A process that knows nothing of this reads the same.
			other := b.open(newEnv(t))
			defer other.Close()
			d := connect(t, other, true)
			defer d.v.Close()
			if !slices.Equal(d.uids, c.uids) || other.UIDValidity() != validity || other.UIDNext() != 6 {
				t.Errorf("another process: UIDs %v, next %d, UIDVALIDITY %d, in\n%s", d.uids, other.UIDNext(), other.UIDValidity(), b.read(uidlistName))
			}
		})
	}
}

// TestRemovedAndUnlisted: Dovecot removes files and then writes the list without them, as
// it does when many are expunged. That is not a loss, whenever we read the list: nothing is
// logged, and none of their records is restored.
func TestRemovedAndUnlisted(t *testing.T) {
	for name, come := range map[string]func(c *client, m *Mailbox, others func()){
		"before a change": func(c *client, _ *Mailbox, others func()) {
			others()
			_, err := c.v.Store(ctx, []uint32{6}, Add, filename.Flagged, nil)
			must(c.t, err)
		},
		"before a look": func(c *client, _ *Mailbox, others func()) {
			others()
			c.poll(true)
		},
		"while a look waits for the lock": func(c *client, m *Mailbox, others func()) {
			m.env.Watcher.Barrier(ctx)
			looked := make(chan error)
			go func() { looked <- c.v.Poll(ctx) }()
			end := time.Now().Add(time.Minute)
			for m.watch.on && !m.events.empty() { // the look has taken the new file
				if time.Now().After(end) {
					c.t.Fatal("the look does not take the new file")
				}
				time.Sleep(time.Millisecond)
			}
			others()
			must(c.t, <-looked)
		},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				var log strings.Builder
				env.Log = slog.New(slog.NewTextHandler(&log, nil))
				b := newBox(t)
				var names []string
				for range 6 {
					names = append(names, b.drop("cur/"))
				}
				m := b.open(env)
				defer m.Close()
				c := connect(t, m, false)
				defer c.v.Close()
				lock, err := newEnv(t).Locker.Acquire(ctx, m.dir, uidlistLock, dotlock.Options{Timeout: time.Minute})
				must(t, err)
				b.drop("cur/100.new.h:2,")
				list := b.read(uidlistName)
				come(c, m, func() {
					for i, name := range names[:5] {
						b.remove(name)
						list = strings.Replace(list, fmt.Sprintf("%d :%s\n", i+1, filename.Base(filepath.Base(name))), "", 1)
					}
					b.write(uidlistName, list)
					must(t, lock.Release())
				})
				c.poll(true)
				list += "7 :100.new.h\n"
				if got := b.read(uidlistName); got != list {
					t.Errorf("the list is\n%swant\n%s", got, list)
				}
				if !slices.Equal(c.uids, []uint32{6, 7}) || strings.Contains(log.String(), "without messages") {
					t.Errorf("UIDs %v; the log:\n%s", c.uids, log.String())
				}
			})
		})
	}
}

// TestListSalvaged: what a list says when the mailbox is opened is used as far as it can be
// read.
func TestListSalvaged(t *testing.T) {
	bases := []string{"100.M1P1.h", "200.M1P1.h", "300.M1P1.h"}
	head := "3 V777 N1 G" + someGUID + "\n"
	for _, c := range []struct {
		name, list string
		uids       []uint32 // of the bases
		validity   uint32   // 0: a new one
	}{
		{"sound", head + "3 :100.M1P1.h\n5 S1 :200.M1P1.h\n9 :300.M1P1.h\n", []uint32{3, 5, 9}, 777},
		{"version 1", "1 777 20\n3 100.M1P1.h:2,S\n5 200.M1P1.h\n", []uint32{3, 5, 20}, 777},
		{"nonsense between", head + "3 :100.M1P1.h\njunk\n\n5 :200.M1P1.h\n9 :300.M1P1.h\n", []uint32{3, 5, 9}, 777},
		{"out of order", head + "9 :300.M1P1.h\n3 :100.M1P1.h\n5 :200.M1P1.h\n", []uint32{3, 5, 9}, 777},
		{"one UID for two", head + "3 :100.M1P1.h\n3 :200.M1P1.h\n9 :300.M1P1.h\n", []uint32{3, 10, 9}, 777},
		{"two UIDs for one", head + "3 :100.M1P1.h\n5 :200.M1P1.h\n6 :300.M1P1.h\n7 :100.M1P1.h\n", []uint32{7, 5, 6}, 777},
		{"cut off", head + "3 :100.M1P1.h\n5 :200.M1", []uint32{3, 6, 7}, 777},
		{"no next UID", "3 V777\n3 :100.M1P1.h\n5 :200.M1P1.h\n9 :300.M1P1.h\n", []uint32{3, 5, 9}, 777},
		{"files in another order than UIDs", head + "3 :300.M1P1.h\n5 :100.M1P1.h\n", []uint32{5, 6, 3}, 777},
		{"no UIDVALIDITY", "3 N20\n3 :100.M1P1.h\n", []uint32{1, 2, 3}, 0},
		{"NULs", strings.Repeat("\x00", 100), []uint32{1, 2, 3}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			for _, base := range bases {
				b.drop("cur/" + base + ":2,")
			}
			b.write(uidlistName, c.list)
			for round := range 2 { // as it is found, and as it was written then
				m := b.open(newEnv(t))
				v := connect(t, m, false)
				got := map[string]uint32{}
				for _, msg := range v.all() {
					e, err := m.location(msg)
					must(t, err)
					got[filename.Base(e.name)] = msg.UID
				}
				for i, base := range bases {
					if got[base] != c.uids[i] {
						t.Errorf("round %d: %s has UID %d, want %d", round, base, got[base], c.uids[i])
					}
				}
				if n := m.UIDValidity(); n == 0 || (c.validity != 0) != (n == 777) {
					t.Errorf("round %d: UIDVALIDITY %d", round, n)
				}
				v.v.Close()
				m.Close()
			}
			// In order again, with a GUID, and with the fields that it had.
			text := b.read(uidlistName)
			if !strings.HasPrefix(text, "3 V") || !strings.Contains(text, " G") || strings.Contains(text, "junk") {
				t.Errorf("the list is\n%s", text)
			}
			if strings.Contains(c.list, "S1") && !strings.Contains(text, "5 S1 :200.M1P1.h\n") {
				t.Errorf("a field was lost:\n%s", text)
			}
		})
	}
}

// TestFieldsKept: records keep other programs' fields when the list is rewritten after an
// expunge.
func TestFieldsKept(t *testing.T) {
	b := newBox(t)
	list := "3 V777 N30 G" + someGUID + " P2\n"
	for i := range 8 {
		base := fmt.Sprintf("%d00.M1P1.h", i+1)
		b.drop("cur/" + base + ":2,T")
		list += fmt.Sprintf("%d O%d Pid%d W9 :%s\n", i+1, i, i, base)
	}
	b.write(uidlistName, list)
	c := b.session(newEnv(t))
	_, err := c.v.Expunge(ctx, []uint32{1, 3, 5})
	must(t, err)
	c.v.m.shortList = 0
	_, err = c.v.Remove(ctx, 8)
	must(t, err)
	want := "3 V777 N30 G" + someGUID + " P2\n"
	for _, i := range []int{2, 4, 6, 7} {
		want += fmt.Sprintf("%d O%d Pid%d W9 :%d00.M1P1.h\n", i, i-1, i-1, i)
	}
	if got := b.read(uidlistName); got != want {
		t.Errorf("the list is\n%swant\n%s", got, want)
	}
}

// TestUIDsUsedUp: the last UID is 2^32-2, and after it there is an error. New mail does not
// prevent the rest from being served, and moved to where there are UIDs.
func TestUIDsUsedUp(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,")
	b.write(uidlistName, "3 V777 N4294967294 G"+someGUID+"\n")
	m := b.open(newEnv(t))
	c := connect(t, m, false)
	if want := []uint32{1<<32 - 2}; !slices.Equal(c.uids, want) {
		t.Errorf("UIDs %v", c.uids)
	}
	in, err := m.NewIncoming(AppendOptions{})
	must(t, err)
	if _, uids, err := m.Append(ctx, Taken{}, in); !errors.Is(err, ErrNoUID) {
		t.Errorf("appended as %v: %v", uids, err)
	}
	if len(b.files()) != 1 {
		t.Errorf("files %v", b.files())
	}
	b.drop("new/200.M1P1.h")
	if told := c.poll(true); len(told) > 0 {
		t.Errorf("told %q", told)
	}
	c.v.Close()
	m.Close()
	m = b.open(newEnv(t))
	defer m.Close()
	c = connect(t, m, false)
	defer c.v.Close()
	other := newBox(t)
	dst := other.open(newEnv(t))
	defer dst.Close()
	if _, err := c.v.Move(ctx, c.uids, dst); err != nil || len(other.files()) != 1 || len(b.files()) != 1 {
		t.Errorf("%v; there are %v, and here %v", err, other.files(), b.files())
	}
}

// TestNamelessLetters: a letter without a name means nothing, keeps its place and is not
// assigned to another keyword; once it has a name, that is reported.
func TestNamelessLetters(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,ac")
		b.drop("cur/200.M1P1.h:2,")
		c := b.session(env)
		if names := c.v.KeywordNames(); len(names) > 0 {
			t.Errorf("invented %q", names)
		}
		_, err := c.v.Store(ctx, []uint32{2}, Add, 0, []string{"one", "two"})
		must(t, err)
		_, err = c.v.Store(ctx, []uint32{1}, Set, filename.Seen, []string{"one"})
		must(t, err)
		if got := b.read("dovecot-keywords"); got != "1 one\n3 two\n" {
			t.Errorf("keywords:\n%s", got)
		}
		for _, want := range []string{"cur/100.M1P1.h:2,Sabc", "cur/200.M1P1.h:2,bd"} {
			if !b.files()[want] {
				t.Errorf("no %s in %v", want, b.files())
			}
		}
		c.poll(true)
		b.write("dovecot-keywords", "0 zero\n1 one\n3 two\n")
		b.rename("cur/200.M1P1.h:2,bd", "cur/200.M1P1.h:2,abd")
		wantUpdates(t, c.poll(true), "keywords", "flags 1 Sabc", "flags 2 abd")
		if i, ok := c.v.KeywordIndex("ZERO"); !ok || i != 0 {
			t.Errorf("keywords %q", c.v.KeywordNames())
		}
	})
}

// TestLetterBeforeName: Dovecot first renames the file and then names the letter, under its
// lock; nobody is told of the letter before it has a name.
func TestLetterBeforeName(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		m := b.open(env)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		other := newEnv(t)
		lock, err := other.Locker.Acquire(ctx, m.dir, uidlistLock, dotlock.Options{Timeout: 10 * time.Second})
		must(t, err)
		b.rename("cur/100.M1P1.h:2,", "cur/100.M1P1.h:2,a")
		wantUpdates(t, c.poll(true))
		b.write("dovecot-keywords", "0 Work\n")
		must(t, lock.Release())
		wantUpdates(t, c.poll(true), "keywords", "flags 1 a")
	})
}

// TestListNoFile: whatever is in place of the list or of the keywords is neither waited for
// nor followed.
func TestListNoFile(t *testing.T) {
	for _, name := range []string{uidlistName, "dovecot-keywords"} {
		for kind, put := range map[string]func(path string) error{
			"FIFO":   func(p string) error { return syscall.Mkfifo(p, 0o600) },
			"device": func(p string) error { return os.Symlink("/dev/zero", p) },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				b := newBox(t)
				b.drop("cur/")
				must(t, put(b.file(name)))
				dir, err := dirfd.Open(b.path)
				must(t, err)
				defer dir.Close()
				m, err := New(ctx, newEnv(t), dir, func() (uint32, func() error, error) { return 1, nil, nil }, nil)
				if !errors.Is(err, dirfd.ErrNotRegular) {
					t.Errorf("opened with %v", err)
					m.Close()
				}
			})
		}
	}
}

// TestLineUp: the names of very many files are unchanged, and in the same order.
func TestLineUp(t *testing.T) {
	files := make([]entry, 40_000)
	for i := range files {
		files[i] = entry{where: table.Place(i % 2), name: fmt.Sprintf("%d.M%dP1.host%s:2,S", i, i, strings.Repeat("x", i%200))}
	}
	want := slices.Clone(files)
	lineUp(files)
	if !slices.Equal(files, want) {
		t.Error("other names than before")
	}
}
