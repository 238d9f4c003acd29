package mailbox

import (
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/filename"
)

// TestTwoNamesAtOpening: two files with the same base are found by a process that knows
// neither. Two messages both exist, one that has two names exists once; a message moves
// from new/ to cur/, so the name in cur/ is the later one, and has the UID in the list.
func TestTwoNamesAtOpening(t *testing.T) {
	const base = "1700000001.M1P1.other"
	for name, c := range map[string]struct {
		first, second string
		list          bool // has a record of the base
		link          bool
		subjects      []string // by UID
		flags         string   // of the first
	}{
		"two messages":              {"cur/" + base + ":2,S", "new/" + base, false, false, []string{"first", "second"}, "S"},
		"two messages, one listed":  {"cur/" + base + ":2,S", "new/" + base, true, false, []string{"first", "second"}, "S"},
		"two in cur":                {"cur/" + base + ":2,", "cur/" + base + ":2,S", true, false, []string{"first", "second"}, ""},
		"a move that was cut short": {"cur/" + base + ":2,S", "new/" + base, false, true, []string{"first"}, "S"},
		"the same, listed":          {"cur/" + base + ":2,S", "new/" + base, true, true, []string{"first"}, "S"},
		"links in cur":              {"cur/" + base + ":2,", "cur/" + base + ":2,S", false, true, []string{"first"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				b := newBox(t)
				must(t, os.WriteFile(b.file(c.first), []byte("first"), 0o600))
				if c.link {
					must(t, os.Link(b.file(c.first), b.file(c.second)))
				} else {
					must(t, os.WriteFile(b.file(c.second), []byte("second"), 0o600))
				}
				uid := uint32(1)
				if c.list {
					must(t, os.WriteFile(b.file("dovecot-uidlist"), []byte("3 V7 N9 G0123456789abcdef0123456789abcdef\n8 :"+base+"\n"), 0o600))
					uid = 8
				}
				client := b.session(env)
				client.poll(true)
				all := client.all()
				if len(all) != len(c.subjects) {
					t.Fatalf("%d messages, files %v", len(all), b.files())
				}
				for i, msg := range all {
					if msg.UID != uid+uint32(i) {
						t.Errorf("UID %d, want %d", msg.UID, uid+uint32(i))
					}
					if text := textOf(t, client.v, msg); text != c.subjects[i] {
						t.Errorf("UID %d is %q, want %q", msg.UID, text, c.subjects[i])
					}
				}
				if got := all[0].Flags; got != filename.FlagsOf(":2,"+c.flags) {
					t.Errorf("flags %v, want %q, files %v", got, c.flags, b.files())
				}
			})
		})
	}
}

func textOf(t *testing.T, v *View, msg Message) string {
	t.Helper()
	f, err := openText(v, msg)
	must(t, err)
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	must(t, err)
	return string(text)
}

// TestSecondNameGoes: of the two names left by an interrupted move by link and unlink, one
// is removed once the move can no longer be in progress.
func TestSecondNameGoes(t *testing.T) {
	for _, names := range [][2]string{{"cur/100.M1P1.h:2,S", "new/100.M1P1.h"}, {"cur/100.M1P1.h:2,", "cur/100.M1P1.h:2,S"}} {
		b, env := newBox(t), newEnv(t)
		late := time.Duration(0)
		env.Now = func() time.Time { return time.Now().Add(late) }
		b.drop(names[0])
		must(t, os.Link(b.file(names[0]), b.file(names[1])))
		for _, late = range []time.Duration{0, 25 * time.Second, 35 * time.Second} {
			m := b.open(env)
			c := connect(t, m, false)
			c.poll(true)
			want := 2
			if late > 30*time.Second {
				want = 1
			}
			if files := b.files(); len(c.uids) != 1 || len(files) != want || !files[names[0]] {
				t.Errorf("%s later: %d messages, files %v", late, len(c.uids), files)
			}
			c.v.Close()
			m.Close()
		}
	}
}

// TestSecondNameStays: another program sets a flag by link and unlink, or gives that up, and
// only the listings on both sides of it notice. The name that is left is never taken for the
// second one, however long ago that was, and nothing else is remembered.
func TestSecondNameStays(t *testing.T) {
	const one, two = "cur/100.M1P1.h:2,", "cur/100.M1P1.h:2,S"
	for _, gone := range []string{one, two} {
		both(t, func(t *testing.T, env *Env) {
			late := time.Duration(0)
			env.Now = func() time.Time { return time.Now().Add(late) }
			b := newBox(t)
			b.drop(one)
			m := b.open(env)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			must(t, os.Link(b.file(one), b.file(two)))
			for range 2 {
				c.poll(true)
				m.events.orderScan()
				if late == 0 {
					b.remove(gone)
				}
				c.poll(true)
				late = time.Hour
				m.events.orderScan()
			}
			if files := b.files(); len(c.uids) != 1 || len(files) != 1 || files[gone] {
				t.Errorf("%s was removed: there is %d, files %v", gone, c.uids, files)
			}
			if len(m.secondNames) > 0 {
				t.Errorf("%s was removed: second names %v are remembered", gone, m.secondNames)
			}
		})
	}
}

// TestSecondNameGoesAlong: a message that is removed does not come back under a second or
// third name of its file, unless that name says that somebody is removing \Deleted from it.
func TestSecondNameGoesAlong(t *testing.T) {
	const base = "100.M1P1.h"
	for _, c := range []struct {
		first  string
		others []string
		stays  bool
	}{
		{"cur/" + base + ":2,ST", []string{"new/" + base}, false},
		{"cur/" + base + ":2,T", []string{"cur/" + base + ":2,ST"}, false},
		{"cur/" + base + ":2,T", []string{"cur/" + base + ":2,"}, true},
		{"cur/" + base + ":2,T", []string{"cur/" + base + ":2,ST", "new/" + base}, false},
		{"cur/" + base + ":2,T", []string{"new/" + base, "cur/" + base + ":2,ST", "cur/" + base + ":2,RST"}, false},
		{"cur/" + base + ":2,T", []string{"new/" + base, "cur/" + base + ":2,", "cur/" + base + ":2,ST"}, true},
	} {
		for how, remove := range map[string]func(v *View) ([]uint32, error){
			"expunge": func(v *View) ([]uint32, error) { return v.Expunge(ctx, nil) },
			"remove":  func(v *View) ([]uint32, error) { return v.Remove(ctx, 1) },
		} {
			t.Run(fmt.Sprint(c.others, how), func(t *testing.T) {
				both(t, func(t *testing.T, env *Env) {
					b := newBox(t)
					b.drop(c.first)
					client := b.session(env)
					for _, other := range c.others {
						must(t, os.Link(b.file(c.first), b.file(other)))
						client.poll(true)
					}
					left := 0
					if c.stays && how == "expunge" {
						left = 1
					}
					removed, err := remove(client.v)
					must(t, err)
					for range 2 {
						client.poll(true)
					}
					if len(removed) != 1-left || len(client.uids) != left || len(b.files()) != left*(1+len(c.others)) {
						t.Errorf("removed %d, there is %d, files %v", removed, client.uids, b.files())
					}
				})
			})
		}
	}
}

// TestStoreToSecondName: a message gets flags that another name of its file says already.
func TestStoreToSecondName(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		both(t, func(t *testing.T, env *Env) {
			const one, two = "cur/100.M1P1.h:2,", "cur/100.M1P1.h:2,S"
			b := newBox(t)
			b.drop(one)
			m := b.open(env)
			defer m.Close()
			c := connect(t, m, false)
			defer c.v.Close()
			must(t, os.Link(b.file(one), b.file(two)))
			if noticed {
				c.poll(true)
			}
			done, err := c.v.Store(ctx, c.uids, Add, filename.Seen, nil)
			must(t, err)
			c.poll(true)
			if files := b.files(); len(done) != 1 || done[0].Flags != filename.Seen || len(c.all()) != 1 || len(files) != 1 || !files[two] || len(m.secondNames) > 0 {
				t.Errorf("stored %v, there are %v, files %v, second names %v", done, c.all(), files, m.secondNames)
			}
		})
	}
}

// TestTakenNameGoesMeanwhile: somebody moves a file, whose base belongs to another message,
// when it is about to get a name of its own. The command continues, and the file is
// examined next under whatever name it has then.
func TestTakenNameGoesMeanwhile(t *testing.T) {
	const base = "1700000001.M1P1.other"
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		moved := false
		now := env.Delivery.Now
		env.Delivery.Now = func() time.Time { // asked for the name
			if !moved {
				moved = true
				b.rename("new/"+base, "cur/1700000002.M1P1.mutt:2,F")
			}
			return now()
		}
		c := b.session(env)
		must(t, os.WriteFile(b.file("cur/"+base+":2,S"), []byte("first"), 0o600))
		c.rest()
		c.poll(true)
		must(t, os.WriteFile(b.file("new/"+base), []byte("second"), 0o600))
		c.rest()
		c.poll(true)
		c.rest()
		c.poll(true)
		all := c.all()
		if !moved || len(all) != 2 {
			t.Fatalf("moved: %t, %d messages, files %v", moved, len(all), b.files())
		}
		if text := textOf(t, c.v, all[1]); text != "second" || all[1].Flags != filename.Flagged {
			t.Errorf("the second is %q with the flags %v", text, all[1].Flags)
		}
	})
}

// TestTwinOfUnknown: while the file of a message cannot be examined, another file with the
// same base does not take its place.
func TestTwinOfUnknown(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		f := &hooked{wrong: func(op, path string) error {
			if op == "stat" && path == b.file("cur/100.M1P1.h:2,") {
				return syscall.EIO
			}
			return nil
		}}
		m := b.openWith(env, f.before)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		was := read(t, c, 1)
		must(t, os.WriteFile(b.file("cur/100.M1P1.h:2,S"), []byte("another"), 0o600))
		f.on.Store(true)
		_ = c.v.Poll(ctx)
		f.on.Store(false)
		m.events.orderScan()
		for range 2 {
			c.poll(true)
		}
		var texts []string
		for _, msg := range c.all() {
			texts = append(texts, textOf(t, c.v, msg))
		}
		if want := []string{was, "another"}; !slices.Equal(texts, want) {
			t.Errorf("UIDs %v are %q, want %q", c.uids, texts, want)
		}
	})
}
