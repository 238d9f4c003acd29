package load

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// rounds are the activities of clients, each as the i-th one.
var rounds = []func(m *rig.Maildird, i int) error{
	func(m *rig.Maildird, i int) error { return deliver(m, "smtp", "EHLO x\r\n", i) },
	func(m *rig.Maildird, i int) error { return deliver(m, "lmtp", "LHLO x\r\n", i) },
	read,
	read,
	func(m *rig.Maildird, i int) error { return hangUp(m, "imap", "IDLE", i) },
	func(m *rig.Maildird, i int) error { return hangUp(m, "imaps", "SELECT", i) },
	func(m *rig.Maildird, i int) error { return hangUp(m, "smtp", "EHLO", i) },
}

func deliver(m *rig.Maildird, service, hello string, i int) error {
	c, err := dial(m, service, i)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.talk([][2]string{
		{"", "220 "}, {hello, "250 "}, {"MAIL FROM:<s@example.net>\r\n", "250 "}, {"RCPT TO:<" + user(i) + ">\r\n", "250 "},
		{"DATA\r\n", "354 "}, {"Subject: x\r\n\r\nx\r\n.\r\n", "250 "}, {"QUIT\r\n", "221 "},
	})
}

// read reads, changes and removes all mail. Another client of the same user may
// remove it first.
func read(m *rig.Maildird, i int) error {
	c, err := idle(m, "imap", "SELECT", i)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.talk([][2]string{
		{"c APPEND INBOX {3+}\r\nx\r\n\r\n", "c OK"}, {"d UID SEARCH TEXT x\r\n", "d OK"}, {"e UID FETCH 1:* (FLAGS ENVELOPE)\r\n", "e "},
		{"f UID STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n", "f "}, {"g EXPUNGE\r\n", "g "}, {"h LOGOUT\r\n", "* BYE"},
	})
}

// hangUp disconnects without logging out.
func hangUp(m *rig.Maildird, service, how string, i int) error {
	c, err := idle(m, service, how, i)
	if err != nil {
		return err
	}
	return c.Close()
}

func (c *client) talk(steps [][2]string) error {
	for _, s := range steps {
		if err := c.say(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// work lets some clients do a number of rounds.
func work(t testing.TB, m *rig.Maildird, n int) {
	t.Helper()
	next, errs := make(chan int), make(chan error, 8)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var first error
			for i := range next {
				if err := rounds[i%len(rounds)](m, i%(4*perUser)); err != nil && first == nil {
					first = fmt.Errorf("round %d: %w", i, err)
				}
			}
			if first != nil {
				errs <- first
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
}

// state is what the server uses when no client is connected.
type state struct{ goroutines, descriptors, memory int }

func (s state) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB (PSS)", s.goroutines, s.descriptors, s.memory)
}

// rest waits until the server uses no more than before, and returns what it uses then, or what
// it uses when patience ends.
func rest(t testing.TB, m *rig.Maildird, before state) state {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		now := state{goroutines: goroutines(t, m), descriptors: descriptors(t, m)}
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors || time.Now().After(end) {
			now.memory = settled(t, m)
			return now
		}
	}
}

// TestNothingStays: a thousand sessions leave no goroutine and no descriptor behind.
func TestNothingStays(t *testing.T) {
	m := start(t, 4*perUser)
	work(t, m, 400) // afterwards, everything that is kept ready exists
	before := state{goroutines(t, m), descriptors(t, m), 0}
	for last := (state{}); last != before; { // the sessions end after their clients
		last = before
		time.Sleep(500 * time.Millisecond)
		before = state{goroutines(t, m), descriptors(t, m), 0}
	}
	work(t, m, 1000)
	after := rest(t, m, before)
	t.Logf("before: %s; after: %s", before, after)
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors {
		t.Errorf("before: %s; after: %s\n%s\n%s", before, after, strings.Join(files(t, m), "\n"), pprof(t, m, "goroutine?debug=1"))
	}
}

// TestSoak is steady work for the duration in MAILDIRD_SOAK, during which the resources of the
// server are measured twenty times. After a fifth of the time, it must not use more than the
// maximum until then: depending on the moment of the measurement, a mailbox from which many
// messages were removed is still open or already closed.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("MAILDIRD_SOAK"))
	if err != nil {
		t.Skip("takes minutes: make soak")
	}
	m := start(t, 4*perUser)
	work(t, m, 500)
	began := time.Now()
	var warm state
	for look := 1; look <= 20; look++ {
		n := 0
		for ; time.Since(began) < long*time.Duration(look)/20; n += 200 {
			work(t, m, 200)
		}
		limit := warm
		if look <= 4 {
			limit = state{1 << 30, 1 << 30, 1 << 30}
		}
		now := rest(t, m, limit)
		t.Logf("%s: %d sessions since; %s", time.Since(began).Round(time.Second), n, now)
		if look <= 4 {
			warm = state{max(warm.goroutines, now.goroutines), max(warm.descriptors, now.descriptors), max(warm.memory, now.memory)}
			continue
		}
		if now.goroutines > warm.goroutines || now.descriptors > warm.descriptors || float64(now.memory) > 1.25*float64(warm.memory)+8<<10 {
			t.Fatalf("it grows: %s at first, %s now\n%s", warm, now, pprof(t, m, "goroutine?debug=1"))
		}
	}
}
