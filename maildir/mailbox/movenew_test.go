package mailbox

import (
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestNewStaysAWhile: mail that arrives while a session is watching is served at once,
// keeps the name under which it was delivered until newPatience is over, and then moves to
// cur/ without a command.
func TestNewStaysAWhile(t *testing.T) {
	b := newBox(t)
	env := newEnv(t)
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	env.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	c := b.session(env)
	woken := func() {
		t.Helper()
		select {
		case <-c.woke:
		case <-time.After(time.Minute):
			t.Fatal("nobody woke the session")
		}
	}
	b.drop("new/100.M1P1.h")
	came, err := os.Stat(b.file("new/100.M1P1.h"))
	must(t, err)
	clock.Store(came.ModTime().Unix() + 1)
	woken()
	wantUpdates(t, c.poll(true), "exists 1", "recent 1")
	if !b.files()["new/100.M1P1.h"] {
		t.Fatalf("just came: files %v", b.files())
	}
	clock.Add(int64(newPatience / time.Second))
	woken()
	wantUpdates(t, c.poll(true))
	if !b.files()["cur/100.M1P1.h:2,"] {
		t.Errorf("a while later: files %v", b.files())
	}
}

// TestNewIsExpected: an event that mail which is just being moved to cur/ is gone from there
// must not be dismissed because the table does not have it there yet.
func TestNewIsExpected(t *testing.T) {
	b := newBox(t)
	var m *Mailbox
	f := &hooked{wrong: func(op, path string) error {
		if op == "rename" && !m.events.expecting() {
			t.Errorf("%s is moved and not expected", path)
		}
		return nil
	}}
	m = b.openWith(newEnv(t), f.before)
	defer m.Close()
	b.drop("new/100.M1P1.h")
	f.on.Store(true)
	c := connect(t, m, false)
	defer c.v.Close()
	if !b.files()["cur/100.M1P1.h:2,"] {
		t.Errorf("files %v", b.files())
	}
}
