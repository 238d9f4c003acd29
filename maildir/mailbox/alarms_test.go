package mailbox

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"maildird/maildir/history"
)

// TestAlarms: each reason has a time of its own.
func TestAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		woken := make(chan time.Duration, 10)
		a := newAlarms(func() { woken <- time.Since(began) })
		a.set(lookAlarm, 2*time.Second)
		a.set(historyAlarm, 10*time.Second)
		a.set(lookAlarm, 3*time.Second) // instead of 2
		a.set(moveAlarm, -time.Second)  // it is due already
		time.Sleep(time.Minute)
		a.set(moveAlarm, time.Second)
		a.stop()
		time.Sleep(time.Minute)
		var got []time.Duration
		for len(woken) > 0 {
			got = append(got, <-woken)
		}
		if want := []time.Duration{0, 3 * time.Second, 10 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("woken after %v, want %v", got, want)
		}
	})
}

// TestMoveDoesNotWait: that the history is tried again later does not delay the move of new
// mail to cur/.
func TestMoveDoesNotWait(t *testing.T) {
	for tries := 1; !movedBeforeHistory(t); tries++ {
		if tries == 3 {
			t.Fatal("the mail was not moved before the history was due, three times")
		}
	}
}

// movedBeforeHistory reports whether new mail is moved before the history is due, 10 s after it
// could not be written. If not, this machine may have stood still for as long.
func movedBeforeHistory(t *testing.T) bool {
	t.Helper()
	b := newBox(t)
	f := &hooked{wrong: func(op, path string) error {
		if strings.HasPrefix(filepath.Base(path), history.Name) && op != "stat" {
			return syscall.EMFILE
		}
		return nil
	}}
	m := b.openWith(newEnv(t), f.before)
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	f.on.Store(true)
	b.drop("new/100.M1P1.h")
	c.hears(t, "exists 1", "recent 1")
	due := m.hist.RetryAt()
	if due.IsZero() {
		t.Fatal("the history was written")
	}
	for !b.files()["cur/100.M1P1.h:2,"] {
		select {
		case <-c.woke:
		case <-time.After(time.Minute):
			t.Fatal("nobody woke the session")
		}
		if time.Now().After(due) {
			return false
		}
		c.poll(true)
	}
	return true
}
