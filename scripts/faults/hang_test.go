package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/scripts/coexist"
	"maildird/scripts/rig"
	"maildird/scripts/rig/intercept"
)

// TestStopWhileDiskHangs: SIGTERM stops the program even if a disk stands still and deliveries wait
// for it. That the time after which it gives up is less than systemd allows is in TestServiceUnit.
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
	err = m.Stop(patience)
	if err == nil || !strings.Contains(m.Log(), "a disk does not respond") {
		t.Errorf("%v; the log:\n%s", err, m.Log())
	}
	m.Process = nil
	if answer := <-answered; answer != "no answer" {
		t.Errorf("a message that was not stored was answered with %s", answer)
	}
}

// TestStopWhileReloadHangs: SIGTERM stops the program even if the disk with the settings stands
// still while they are reread.
func TestStopWhileReloadHangs(t *testing.T) {
	needed(t)
	trap, m := newTrapped(t, 1)
	waiting := make(chan struct{})
	once := sync.OnceFunc(func() { close(waiting) })
	trap.Below(m.Config, func(intercept.Call) intercept.Action {
		once()
		return intercept.Action{Hang: true}
	})
	must(t, m.Process.Process.Signal(syscall.SIGHUP))
	<-waiting
	err := m.Stop(patience)
	if err != nil {
		t.Errorf("%v; the log:\n%s", err, m.Log())
	}
	m.Process = nil
}

// hanging makes calls hang, and counts them by their threads: one that a signal makes the kernel
// begin again (SA_RESTART) is still one call.
type hanging struct {
	mu      sync.Mutex
	threads map[int]bool
}

func (h *hanging) hang(c intercept.Call) intercept.Action {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.threads[c.Thread] = true
	return intercept.Action{Hang: true}
}

func (h *hanging) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.threads)
}

// TestDiskHangs: while the disk of many users stands still, those on another are served as
// always, however many clients the others have; everything resumes when the disk does.
func TestDiskHangs(t *testing.T) {
	needed(t)
	const users, each, calls = 8, 48, 192 // calls: see mostInside in maildir/dirfd
	trap, m := newTrapped(t, users)
	mail, intact := filepath.Dir(m.Home(neighbour)), m.Home(neighbour)
	for _, dir := range []string{mail, intact} {
		must(t, os.MkdirAll(dir, 0o700))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m,mode=0700"))
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	must(t, rig.Own(mail))
	next, err := newNeighbour(m)
	must(t, err)
	defer next.close()
	must(t, next.served())
	var clients []*coexist.Client
	for n := range users * each {
		c, err := coexist.Dial("maildird", m.Address("imap"), userName(n%users), "secret")
		must(t, err)
		defer c.Close()
		_, err = c.Do("SELECT INBOX")
		must(t, err)
		clients = append(clients, c)
	}
	var selects, unselects *coexist.Client
	for n, c := range []**coexist.Client{&selects, &unselects} {
		*c, err = coexist.Dial("maildird", m.Address("imap"), userName(n), "secret")
		must(t, err)
		defer (*c).Close()
		_, err = (*c).Do("SELECT INBOX")
		must(t, err)
	}

	hang := hanging{threads: map[int]bool{}}
	trap.Below(mail, func(c intercept.Call) intercept.Action {
		if strings.HasPrefix(c.Path, intact) || strings.HasPrefix(c.To, intact) {
			return intercept.Action{}
		}
		return hang.hang(c)
	})
	answers := make(chan error, len(clients))
	for _, c := range clients {
		go func() {
			_, err := c.Do("NOOP")
			answers <- err
		}()
	}
	for n := range len(clients) - calls - users {
		select {
		case err := <-answers:
			must(t, err)
		case <-time.After(patience):
			t.Fatalf("%d of %d clients have an answer", n, len(clients))
		}
	}
	if n := hang.count(); n > calls { // each occupies a thread
		t.Errorf("%d calls hang", n)
	}
	if _, err := coexist.Dial("maildird", m.Address("imap"), userName(0), "secret"); err == nil || !strings.Contains(err.Error(), "NO [UNAVAILABLE]") {
		t.Errorf("a login is answered with %v", err)
	}
	if _, err := selects.Do("SELECT INBOX"); err == nil || !strings.Contains(err.Error(), "NO [UNAVAILABLE]") {
		t.Errorf("SELECT is answered with %v", err)
	}
	_, err = unselects.Do("UNSELECT")
	must(t, err)
	for _, c := range []*coexist.Client{selects, unselects} {
		if _, err := c.Do("CLOSE"); err == nil || !strings.Contains(err.Error(), "BAD ") {
			t.Errorf("a mailbox is still selected: %v", err) // RFC 9051 section 6.3.2: not after a SELECT that fails
		}
	}
	s, err := dialSender(m, "lmtp", "")
	must(t, err)
	defer s.Close()
	if answer, _ := s.deliver(mailText("refused", 1), userName(1)); answer != "451 4.3.0" {
		t.Errorf("a message is answered with %s", answer)
	}
	if !strings.Contains(m.Log(), "the disk does not respond") {
		t.Errorf("the log does not say so:\n%s", m.Log())
	}
	must(t, m.Process.Process.Signal(syscall.SIGHUP))
	for range 10 {
		start := time.Now()
		must(t, next.served())
		if d := time.Since(start); d > dirfd.Patience {
			t.Errorf("the neighbour was served in %s: it waits for the disk of others", d)
		}
	}
	if !sleepUntil(func() bool { return strings.Contains(m.Log(), "msg=reloaded") }) {
		t.Errorf("not reloaded:\n%s", m.Log())
	}

	trap.Below(mail, nil)
	trap.Resume()
	for range calls + users {
		must(t, <-answers)
	}
	answer, _ := s.deliver(mailText("stored", 1), userName(1))
	if answer != "250" {
		t.Errorf("a message is answered with %s", answer)
	}
	c, err := coexist.Dial("maildird", m.Address("imap"), userName(1), "secret")
	must(t, err)
	defer c.Close()
	for _, c := range []*coexist.Client{c, clients[1]} {
		got, _, _, err := fetchAll(c, "SELECT", "INBOX")
		must(t, err)
		if _, ok := got["stored"]; !ok || len(got) != 1 {
			t.Errorf("INBOX has %v", got)
		}
	}
}

// TestManyDisksHang: each user has a disk of his own, and all but one of them stand still. The calls
// that wait for them are bounded all the same, and the user whose disk is intact is served.
func TestManyDisksHang(t *testing.T) {
	needed(t)
	const disks, each, calls = 60, 45, 2048 + 60 // calls: see mostInAll in maildir/dirfd
	trap, m := newTrapped(t, disks)
	next, err := newNeighbour(m)
	must(t, err)
	defer next.close()
	must(t, next.served())
	hang := hanging{threads: map[int]bool{}}
	var clients []*coexist.Client
	for n := range disks {
		dir := m.Home(userName(n))
		must(t, os.MkdirAll(dir, 0o700))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"))
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		must(t, rig.Own(dir))
		for range each {
			c, err := coexist.Dial("maildird", m.Address("imap"), userName(n), "secret")
			must(t, err)
			defer c.Close()
			_, err = c.Do("SELECT INBOX")
			must(t, err)
			clients = append(clients, c)
		}
	}
	for n := range disks {
		trap.Below(m.Home(userName(n)), hang.hang)
	}
	answers := make(chan error, len(clients))
	for _, c := range clients {
		go func() {
			_, err := c.Do("NOOP")
			answers <- err
		}()
	}
	for n := range len(clients) - calls - disks {
		select {
		case err := <-answers:
			must(t, err)
		case <-time.After(patience):
			t.Fatalf("%d of %d clients have an answer", n, len(clients))
		}
	}
	if n := hang.count(); n > calls || n < calls/2 {
		t.Errorf("%d calls hang", n)
	}
	for range 3 {
		start := time.Now()
		must(t, next.served())
		if d := time.Since(start); d > dirfd.Patience {
			t.Errorf("the neighbour was served in %s: it waits for the disk of others", d)
		}
	}
	for n := range disks {
		trap.Below(m.Home(userName(n)), nil)
	}
	trap.Resume()
	for range calls + disks {
		must(t, <-answers)
	}
}

// TestChangeHangs: while a change of a mailbox does not end, because of the disk, other sessions go
// on with what they know of it, and their own changes are refused in the end.
func TestChangeHangs(t *testing.T) {
	needed(t)
	trap, m := newTrapped(t, 1)
	s, err := dialSender(m, "lmtp", "")
	must(t, err)
	defer s.Close()
	if answer, words := s.deliver(mailText("mail", 1), userName(0)); answer != "250" {
		t.Fatal(answer, words)
	}
	dial := func() *coexist.Client {
		c, err := coexist.Dial("maildird", m.Address("imap"), userName(0), "secret")
		must(t, err)
		t.Cleanup(c.Close)
		_, err = c.Do("SELECT INBOX")
		must(t, err)
		return c
	}
	changes, looks, waits := dial(), dial(), dial()
	_, err = changes.Do(`STORE 1 +FLAGS (\Answered)`) // moves the message to cur/
	must(t, err)

	hangs := make(chan struct{})
	once := sync.OnceFunc(func() { close(hangs) })
	trap.Below(m.Home(userName(0)), func(c intercept.Call) intercept.Action {
		if !strings.HasPrefix(c.Name, "rename") {
			return intercept.Action{}
		}
		once()
		return intercept.Action{Hang: true}
	})
	changed, looked, refused := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	do := func(c *coexist.Client, answer chan<- error, command string) {
		_, err := c.Do("%s", command)
		answer <- err
	}
	go do(changes, changed, `STORE 1 +FLAGS (\Seen)`)
	<-hangs
	go do(looks, looked, "NOOP")
	go do(waits, refused, `STORE 1 +FLAGS (\Flagged)`)
	for answer, want := range map[chan error]string{looked: "", refused: "NO [INUSE]"} {
		select {
		case err := <-answer:
			if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
				t.Errorf("answered with %s, want %q", got, want)
			}
		case <-time.After(2 * patience):
			t.Fatalf("no answer, want %q", want)
		}
	}
	trap.Below(m.Home(userName(0)), nil)
	trap.Resume()
	must(t, <-changed)
	_, err = waits.Do(`STORE 1 +FLAGS (\Flagged)`)
	must(t, err)
}
