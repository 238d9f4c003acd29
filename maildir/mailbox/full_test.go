package mailbox

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"maildird/maildir/filename"
)

// TestFullAndUnusualNames: on a full disk, mail that needs more than a record, because its
// base was that of a message that is gone or belongs to another one, waits like other new
// mail. The rest of the mailbox can be used, and the mail is shown when there is room.
func TestFullAndUnusualNames(t *testing.T) {
	for name, c := range map[string]struct{ call, path string }{
		"no room for a list":     {"", uidlistName + ".tmp"},
		"no room in a directory": {"rename", "/cur/"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, env *Env) {
				b := newBox(t)
				b.drop("cur/100.M1P1.h:2,")
				b.drop("cur/200.M1P1.h:2,")
				failed := false
				f := &hooked{wrong: func(op, path string) error {
					if strings.Contains(path, c.path) && strings.Contains(op, c.call) {
						failed = true
						return syscall.ENOSPC
					}
					return nil
				}}
				m := b.openWith(env, f.before)
				defer m.Close()
				client := connect(t, m, false)
				defer client.v.Close()
				b.rename("cur/100.M1P1.h:2,", "away")
				wantUpdates(t, client.poll(true), "expunge 1", "recent 1")
				b.rename("away", "cur/100.M1P1.h:2,")
				b.drop("cur/200.M1P1.h:2,S")
				f.on.Store(true)
				client.poll(true)
				v, err := m.NewView(ctx, false, nil)
				must(t, err)
				v.Close()
				if f.on.Store(false); !failed {
					t.Fatal("there was room")
				}
				client.poll(true)
				client.poll(true)
				if len(client.uids) != 3 || client.uids[0] != 2 {
					t.Errorf("with room there are %v, files %v", client.uids, b.files())
				}
			})
		})
	}
}

// TestLostRecordsOnFullDisk: a message of which another program's list has no record keeps
// its UID, which gets into the list as soon as there is room, although nothing happens in
// the folder then.
func TestLostRecordsOnFullDisk(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,")
		b.drop("cur/200.M1P1.h:2,")
		failed := false
		f := &hooked{wrong: func(_, path string) error {
			if strings.HasSuffix(path, uidlistName+".tmp") {
				failed = true
				return syscall.ENOSPC
			}
			return nil
		}}
		m := b.openWith(env, f.before)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		list, err := os.ReadFile(b.file(uidlistName))
		must(t, err)
		lines := strings.SplitAfter(string(list), "\n")
		must(t, os.WriteFile(b.file("list"), []byte(lines[0]+lines[2]), 0o600))
		b.rename("list", uidlistName)
		b.settle()
		f.on.Store(true)
		for range 2 {
			c.poll(true)
		}
		if f.on.Store(false); !failed {
			t.Fatal("there was room")
		}
		c.poll(true)
		if list, err = os.ReadFile(b.file(uidlistName)); err != nil || !strings.Contains(string(list), ":100.M1P1.h") || len(c.uids) != 2 {
			t.Errorf("with room, there are %v and the list is (%v)\n%s", c.uids, err, list)
		}
	})
}

// TestBacklog: there is room again when a look postponed nothing.
func TestBacklog(t *testing.T) {
	var b backlog
	for i, step := range []struct{ first, room, empty bool }{
		{first: true}, {}, {room: true, empty: true}, {empty: true},
	} {
		b.begin()
		if i < 2 {
			if first := b.postpone(); first != step.first {
				t.Errorf("look %d: the first postponed: %v", i, first)
			}
		}
		if room := b.end(); room != step.room || b.empty() != step.empty {
			t.Errorf("look %d: room again %v, %+v", i, room, b)
		}
	}
	b.postpone() // by a change, between looks
	b.begin()
	if !b.end() {
		t.Error("a look that postpones nothing does not find room")
	}
	if b.incomplete = true; b.empty() || !b.takeIncomplete() || b.takeIncomplete() || !b.empty() {
		t.Errorf("incomplete: %+v", b)
	}
}

// TestKeywordsOnFullDisk: without room for the lock, flags change, but no letter gets a name.
func TestKeywordsOnFullDisk(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,")
	f := &hooked{wrong: func(_, path string) error {
		if strings.Contains(path, uidlistLock) {
			return syscall.ENOSPC
		}
		return nil
	}}
	m := b.openWith(newEnv(t), f.before)
	defer m.Close()
	client := connect(t, m, false)
	defer client.v.Close()
	f.on.Store(true)
	defer f.on.Store(false)
	for _, c := range []struct {
		op    Op
		words []string
		fails bool
	}{
		{Add, nil, false}, {Remove, []string{"unknown"}, false}, {Add, []string{"unknown"}, true},
	} {
		if _, err := client.v.Store(ctx, client.uids, c.op, filename.Seen, c.words); errors.Is(err, syscall.ENOSPC) != c.fails || !c.fails && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if text, err := os.ReadFile(b.file("dovecot-keywords")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dovecot-keywords is %q, %v", text, err)
	}
}
