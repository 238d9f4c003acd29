package mailbox

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/dirfd"
)

// reading is what a session knows of a message: the size and the date by themselves, and
// what the cache has of the text, which is read if it has nothing.
type reading struct {
	size int64
	date time.Time
	text string
}

func (is reading) equal(other reading) bool {
	return is.size == other.size && is.date.Equal(other.date) && is.text == other.text
}

// readAll reads all messages of a mailbox through the cache. cached is the number of those
// whose text it had.
func readAll(t testing.TB, m *Mailbox) (all []reading, cached int) {
	t.Helper()
	c := connect(t, m, false)
	defer c.v.Close()
	has := c.v.Cached()
	defer has.Close()
	for _, msg := range c.all() {
		var is reading
		var err error
		rec, ok := has.Read(msg)
		if text, kept := rec.Get(cache.Header); ok && kept {
			is.text = string(text)
			cached++
		} else {
			f, err := openText(c.v, msg)
			must(t, err)
			text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
			must(t, err)
			must(t, f.Close())
			is.text = string(text)
			rec := cache.Record{Size: f.Size, Mtime: f.Mtime, Virtual: -1, Source: f.Source}
			rec.Set(cache.Header, text)
			has.Keep(msg, &rec)
		}
		is.size, err = c.v.Size(msg, func() error { return nil })
		must(t, err)
		is.date, err = c.v.Date(msg)
		must(t, err)
		all = append(all, is)
	}
	return all, cached
}

var (
	longAgo = time.Unix(1_700_000_000, 0)
	later   = time.Unix(1_710_000_000, 0)
)

// putOver replaces one file by another one, as mv and rsync do.
func (b *box) putOver(rel, text string, date time.Time) {
	b.t.Helper()
	must(b.t, os.WriteFile(b.file("tmp/over"), []byte(text), 0o600))
	must(b.t, os.Chtimes(b.file("tmp/over"), date, date))
	b.rename("tmp/over", rel)
}

// TestReplacedUnseen: another file gets a message's name while nobody is looking. What the
// cache had of the first file is not reported for it.
func TestReplacedUnseen(t *testing.T) {
	first := "Subject: a\n\nhello\n"
	for name, text := range map[string]string{"longer": first + first, "shorter": "Subject: b\n\n", "as long": strings.ToUpper(first)} {
		for _, is := range []struct {
			when string
			date time.Time // of the first file
			now  time.Time // of the second
		}{{"later", longAgo, later}, {"the same time", longAgo, longAgo}, {"new", time.Now(), time.Now()}, {"replaced by an old one", time.Now(), longAgo}} {
			if len(text) == len(first) && is.now.Equal(longAgo) && is.date.Equal(longAgo) {
				continue // as of a copy
			}
			for who, act := range map[string]func(s *unseen){
				"closed": func(s *unseen) {
					s.m.Close()
					s.over()
					s.m = s.b.open(s.env)
				},
				"stopped": func(s *unseen) {
					s.m.Close()
					s.over()
					s.restart()
				},
				"stopped, in another folder": func(s *unseen) { // which nothing was known of
					s.m.Close()
					s.over()
					s.moved()
					s.restart()
				},
				"crashed": func(s *unseen) {
					s.over()
					s.m.Close()
					_ = os.Remove(snapshotFile(s.b.t, s.cache))
					s.restart()
				},
				"stopped at once": func(s *unseen) { // nobody looked at the event
					s.over()
					s.m.Close()
					s.restart()
				},
				"renamed by us": func(s *unseen) { // before the event came
					s.over()
					c := connect(s.b.t, s.m, false)
					_, err := c.v.Store(ctx, c.uids[:1], Add, 1, nil)
					must(s.b.t, err)
					c.v.Close()
					s.m.Close()
					s.restart()
				},
				"open elsewhere": func(s *unseen) { // by a process without events
					other := s.b.open(unwatchedKeeping(s.b.t, s.cache))
					readAll(s.b.t, other)
					s.m.Close()
					s.b.settle()
					s.over()
					s.m = other
				},
				"looked at, read later": func(s *unseen) {
					s.m.Close()
					s.over()
					s.restart()
					told(s.b.t, s.m)
					s.m.Close()
					s.restart()
				},
			} {
				t.Run(fmt.Sprintf("%s, %s, %s", name, is.when, who), func(t *testing.T) {
					t.Parallel()
					s := &unseen{b: newBox(t), cache: t.TempDir()}
					one := s.b.drop("cur/")
					s.b.drop("cur/")
					s.b.putOver(one, first, is.date)
					s.b.settle()
					s.env = keeping(t, s.cache)
					s.m = s.b.open(s.env)
					before, _ := readAll(t, s.m)
					s.over = func() { s.b.putOver(one, text, is.now) }
					act(s)
					got, _ := readAll(t, s.m)
					s.m.Close()
					if want := (reading{int64(len(text) + strings.Count(text, "\n")), is.now, text}); !got[0].equal(want) {
						t.Errorf("another process has %+v, the file is %+v", got[0], want)
					}
					if !got[1].equal(before[1]) {
						t.Errorf("the other message was %+v and is %+v", before[1], got[1])
					}
				})
			}
		}
	}
}

// unseen is a folder in which a file is put over another one.
type unseen struct {
	b     *box
	cache string
	env   *Env
	m     *Mailbox
	over  func()
}

func (s *unseen) restart() {
	s.env = keeping(s.b.t, s.cache)
	s.m = s.b.open(s.env)
}

// moved replaces the folder by another directory with the same files.
func (s *unseen) moved() {
	old := s.b.path + ".old"
	must(s.b.t, os.Rename(s.b.path, old))
	for _, sub := range []string{"", "/cur", "/new", "/tmp"} {
		must(s.b.t, os.Mkdir(s.b.path+sub, 0o700))
		names, err := os.ReadDir(old + sub)
		must(s.b.t, err)
		for _, one := range names {
			if !one.IsDir() {
				must(s.b.t, os.Rename(filepath.Join(old+sub, one.Name()), filepath.Join(s.b.path+sub, one.Name())))
			}
		}
	}
}

func unwatchedKeeping(t testing.TB, dir string) *Env {
	env := keeping(t, dir)
	must(t, env.Watcher.Close())
	return env
}

// TestCopiedFiles: all files were replaced and have the same contents, as after a restore.
// Nothing in the cache is lost, and each file is examined once.
func TestCopiedFiles(t *testing.T) {
	const messages = 300
	for name, newFolder := range map[string]bool{"in the same folder": false, "in another folder": true} {
		t.Run(name, func(t *testing.T) {
			s := &unseen{b: newBox(t), cache: t.TempDir()}
			for range messages {
				must(t, os.Chtimes(s.b.file(s.b.drop("cur/")), longAgo, longAgo))
			}
			s.b.settle()
			s.restart()
			before, _ := readAll(t, s.m)
			s.m.Close()
			if newFolder {
				s.moved()
			}
			for rel := range s.b.files() {
				s.b.putOver(rel, s.b.read(rel), longAgo)
			}
			s.b.settle()
			for round, most := range []int{messages + 20, 20} {
				s.env = keeping(t, s.cache)
				looks, m := s.counted()
				after, cached := readAll(t, m)
				m.Close()
				if cached != messages {
					t.Errorf("round %d: the cache has %d of %d messages", round, cached, messages)
				}
				for i := range before {
					if !after[i].equal(before[i]) {
						t.Fatalf("round %d: message %d was %+v and is %+v", round, i, before[i], after[i])
					}
				}
				if *looks > most {
					t.Errorf("round %d: looked at files %d times, want %d at most", round, *looks, most)
				}
			}
		})
	}
}

// counted opens the folder and counts how often its files are examined.
func (s *unseen) counted() (looks *int, m *Mailbox) {
	s.b.t.Helper()
	dir, err := dirfd.Open(s.b.path)
	must(s.b.t, err)
	looks = new(int)
	dir.Before(func(op, path string) error {
		if op == "stat" && strings.HasPrefix(filepath.Base(path), "17") {
			*looks++
		}
		return nil
	})
	m, err = New(ctx, s.env, dir, nil, nil)
	must(s.b.t, err)
	return looks, m
}
