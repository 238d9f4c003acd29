package faults

import (
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/scripts/rig/intercept"
)

// TestStopWhileDiskHangs: SIGTERM stops the program in time even if a disk stands still and
// deliveries wait for it.
func TestStopWhileDiskHangs(t *testing.T) {
	needed(t)
	trap, m := newTrapped(t, 1)
	waiting := make(chan struct{})
	once := sync.OnceFunc(func() { close(waiting) })
	trap.Below(m.Home(userName(0)), func(c intercept.Call) intercept.Action {
		if c.Name != "fsync" {
			return intercept.Action{}
		}
		once()
		return intercept.Action{Hang: true}
	})
	s, err := dialSender(m, "lmtp", "")
	must(t, err)
	defer s.Close()
	answered := make(chan string, 1)
	go func() {
		answer, _ := s.deliver(mailText("hangs", 1), userName(0))
		answered <- answer
	}()
	<-waiting
	err = m.Stop(15 * time.Second) // TimeoutStopSec
	if err == nil || !strings.Contains(m.Log(), "a disk does not respond") {
		t.Errorf("%v; the log:\n%s", err, m.Log())
	}
	m.Process = nil
	if answer := <-answered; answer != "no answer" {
		t.Errorf("a message that was not stored was answered with %s", answer)
	}
}
