package mailbox

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// TestUIDListLostRecord: the history knows of a message that the uidlist no longer has, as
// after another program rewrote it.
func TestUIDListLostRecord(t *testing.T) {
	b, env := newBox(t), newEnv(t)
	for range 3 {
		b.drop("cur/")
	}
	m := b.open(env)
	c := &offline{t: t}
	c.come(m)
	c.leave()
	m.Close()
	list, err := os.ReadFile(b.file("dovecot-uidlist"))
	must(t, err)
	lines := strings.SplitAfter(string(list), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "2 ") })
	name := strings.TrimSpace(lines[i][strings.Index(lines[i], ":")+1:])
	must(t, os.WriteFile(b.file("dovecot-uidlist"), []byte(strings.Join(slices.Delete(lines, i, i+1), "")), 0o600))
	b.remove("cur/" + name + ":2,")
	m = b.open(env)
	defer m.Close()
	since := c.since
	c.come(m)
	c.check(b)
	if got := c.vanished(since); !slices.Equal(got, []Range{{2, 2}}) {
		t.Errorf("vanished: %v", got)
	}
	c.leave()
}

// TestOlderListWithoutHistory: an older uidlist was restored, and after a while the history
// is lost too. The next UID does not go back: clients know the UIDs before it.
func TestOlderListWithoutHistory(t *testing.T) {
	b, env := newBox(t), unwatched(t)
	b.drop("cur/")
	m := b.open(env)
	c := &offline{t: t}
	c.come(m)
	older, err := os.ReadFile(b.file("dovecot-uidlist"))
	must(t, err)
	b.remove(b.drop("cur/"))
	name := b.drop("cur/")
	c.listen(true)
	next := m.UIDNext()
	b.remove(name)
	c.listen(true)
	c.leave()
	m.Close()
	if next != 3 {
		t.Fatalf("the next UID is %d", next)
	}

	must(t, os.WriteFile(b.file("dovecot-uidlist"), older, 0o600))
	for _, history := range []bool{true, false} {
		if !history {
			b.remove("maildird-history")
		}
		m = b.open(env)
		c.come(m)
		if got := m.UIDNext(); got != next {
			t.Errorf("with history %v: the next UID is %d, was %d", history, got, next)
		}
		c.leave()
		m.Close()
	}
}

// TestCameAndWent: a UID was assigned, and the file was gone, before the history recorded
// either, as when a process ends between the two.
func TestCameAndWent(t *testing.T) {
	b, env := newBox(t), newEnv(t)
	b.drop("cur/")
	m := b.open(env)
	c := &offline{t: t}
	c.come(m)
	c.leave()
	m.Close()
	f, err := os.OpenFile(b.file("dovecot-uidlist"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("2 :1700000000.M1P1.gone\n3 :1700000000.M2P1.gone\n")
	must(t, errors.Join(err, f.Close()))
	m = b.open(env)
	defer m.Close()
	since := c.since
	c.come(m)
	if got := c.vanished(since); !slices.Equal(got, []Range{{2, 3}}) {
		t.Errorf("vanished: %v", got)
	}
	// What was reported gone does not come back under its UID.
	must(t, os.WriteFile(b.file("cur/1700000000.M1P1.gone:2,"), nil, 0o600))
	c.listen(true)
	c.check(b)
	if _, ok := c.cache[4]; !ok || len(c.cache) != 2 {
		t.Errorf("the client has %v", c.cache)
	}
	c.leave()
}

// TestGoneElsewhere: one process told its clients that a message is gone; its file comes
// back before the other one looks. Both assign the same new UID.
func TestGoneElsewhere(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	name := b.drop("cur/")
	one, two := b.open(unwatched(t)), b.open(unwatched(t))
	defer one.Close()
	defer two.Close()
	c, d := &offline{t: t}, &offline{t: t}
	c.come(one)
	d.come(two)
	b.remove(name)
	c.listen(true)
	if len(c.cache) != 1 {
		t.Fatalf("the client has %v", c.cache)
	}
	must(t, os.WriteFile(b.file(name), nil, 0o600))
	for range 3 {
		c.listen(true)
		d.listen(true)
	}
	c.check(b)
	d.check(b)
	if _, ok := d.cache[3]; !ok || len(d.cache) != 2 {
		t.Errorf("the other client has %v", d.cache)
	}
	c.leave()
	d.leave()
}

// TestKeywordNamedLater: another program names a letter that messages already have, so the
// client sees a different keyword: that is a change.
func TestKeywordNamedLater(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	b.drop("cur/1700000000.M1P1.other:2,a")
	m := b.open(newEnv(t))
	defer m.Close()
	c := &offline{t: t}
	c.come(m)
	since := c.since
	must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("0 Work\n"), 0o600))
	b.drop("cur/") // a change of the keywords alone is not looked for
	c.listen(true)
	var changed []uint32
	for _, msg := range slices.Collect(c.v.Messages([]Range{{1, 2}}, true)) {
		if msg.ModSeq > since {
			changed = append(changed, msg.UID)
		}
	}
	if !slices.Equal(changed, []uint32{1}) && !slices.Equal(changed, []uint32{2}) {
		t.Errorf("changed: %v", changed)
	}
	c.leave()
}

// TestNoHistory: if the history cannot be written, there are no mod-sequences.
func TestNoHistory(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	env := newEnv(t)
	b.open(env).Close()
	must(t, os.Remove(b.file(history.Name)))
	must(t, os.Mkdir(b.file(history.Name), 0o700))
	must(t, os.WriteFile(b.file(history.Name+"/x"), nil, 0o600))
	m := b.open(env)
	defer m.Close()
	v, err := m.NewView(ctx, false, nil)
	must(t, err)
	defer v.Close()
	if ok, err := v.EnableModSeq(ctx); ok || err != nil {
		t.Errorf("mod-sequences without a history: %v, %v", ok, err)
	}
	if n, err := m.HighestModSeq(ctx); n != 0 || err != nil {
		t.Errorf("STATUS would say %d, %v", n, err)
	}
	if _, err := v.Store(ctx, []uint32{1}, Add, filename.Flagged, nil); err != nil {
		t.Errorf("changes are not possible without history: %v", err)
	}
}

// TestStoreAppends: STORE of one message appends a few bytes to the journal.
func TestStoreAppends(t *testing.T) {
	b := newBox(t)
	for range 50 {
		b.drop("cur/")
	}
	c := b.session(newEnv(t))
	size := func() int64 {
		st, err := os.Stat(b.file(history.Name))
		must(t, err)
		return st.Size()
	}
	before := size()
	msgs, err := c.v.Store(ctx, []uint32{25}, Add, filename.Flagged, nil)
	must(t, err)
	more, err := c.v.Store(ctx, []uint32{26}, Add, filename.Flagged, nil)
	must(t, err)
	if more[0].ModSeq <= msgs[0].ModSeq {
		t.Errorf("mod-sequence %d after %d", more[0].ModSeq, msgs[0].ModSeq)
	}
	if n := size() - before; n <= 0 || n > 50 {
		t.Errorf("two changes took %d bytes", n)
	}
	again, err := c.v.Store(ctx, []uint32{25}, Add, filename.Flagged, nil)
	must(t, err)
	if again[0].ModSeq != msgs[0].ModSeq {
		t.Error("setting a flag that is set is a change")
	}
	for i := range 3000 {
		_, err := c.v.Store(ctx, []uint32{1}, []Op{Add, Remove}[i%2], filename.Seen, nil)
		must(t, err)
	}
	if n := size(); n > 64<<10 {
		t.Errorf("the journal has %d bytes after 3000 changes of one message", n)
	}
}

// TestUndoneBehindUnaware: a client that uses no mod-sequences is told of a change, which
// is undone after it left; when it comes back with the mod-sequence that it was told first,
// it hears of the message.
func TestUndoneBehindUnaware(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		one := b.drop("cur/")
		m := b.open(env)
		defer m.Close()
		c := &offline{t: t}
		c.come(m)
		c.leave()
		v, err := m.NewView(ctx, false, nil)
		must(t, err)
		b.rename(one, one+"S")
		must(t, v.Poll(ctx))
		told := false
		v.Updates(0, func(u Update) {
			if u.Kind == Flags {
				c.cache[u.UID], told = u.Message.Flags, true
			}
		})
		v.Close()
		if !told {
			t.Fatal("the change was not told")
		}
		b.rename(one+"S", one)
		c.come(m)
		c.check(b)
		c.leave()
	})
}

// TestUndoneAfterFetch: a client reads flags that another program changed, before they have
// a mod-sequence, and loses its connection; they are changed back, and the client hears of
// the message when it comes back.
func TestUndoneAfterFetch(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		one := b.drop("cur/")
		m := b.open(env)
		defer m.Close()
		c := &offline{t: t}
		c.come(m)
		lock, err := newEnv(t).Locker.Acquire(ctx, m.dir, uidlistLock, dotlock.Options{Timeout: time.Minute})
		must(t, err)
		b.rename(one, one+"S")
		must(t, c.v.Poll(ctx))
		for msg := range c.v.Messages([]Range{{1, 1}}, true) {
			c.cache[msg.UID] = msg.Flags
		}
		b.rename(one+"S", one)
		must(t, lock.Release())
		must(t, m.Poll(ctx))
		c.leave()
		c.come(m)
		c.check(b)
		c.leave()
	})
}

// TestManyGone: what the history says of many messages that were removed one at a time costs
// time for each of them, not for each pair.
func TestManyGone(t *testing.T) {
	const many = 100000
	m := newBox(t).open(unwatched(t))
	defer m.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid := range uint32(many) {
		m.modseqs.strays[uid+1] = struct{}{}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime(t)
	for uid := range uint32(many) {
		m.takeGone(history.Run{First: uid + 1, Last: uid + 1})
	}
	if took := threadTime(t) - began; took > 5*time.Second || len(m.modseqs.strays) > 0 {
		t.Errorf("it took %v, %d are left", took, len(m.modseqs.strays))
	}
}

// threadTime is the processor time that this thread has used, on which other programs have no
// influence.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used))
	return time.Duration(used.Nano())
}
