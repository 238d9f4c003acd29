package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clocked is a users file whose throttle has a simulated clock: pauses are only added up.
type clocked struct {
	*Users
	t      *testing.T
	now    time.Time
	paused time.Duration // by the last failure
}

func newClocked(t *testing.T) *clocked {
	u, _, _ := open(t, "alice@example.org:{PLAIN}a\nbob@example.org:{PLAIN}b\ncarol@example.org:{PLAIN}c::::::allow_nets=local\n")
	c := &clocked{Users: u, t: t, now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
	u.check.throttle.now = func() time.Time { return c.now }
	u.check.throttle.pause = func(_ context.Context, d time.Duration) { c.paused = d }
	return c
}

func (c *clocked) login(from, name, password string) error {
	c.paused = 0
	_, err := c.Authenticate(context.Background(), netip.MustParseAddr(from), name, password)
	return err
}

// failures makes n logins fail, and returns how many of them were checked.
func (c *clocked) failures(n int, from, name string) (checked int) {
	c.t.Helper()
	for range n {
		switch err := c.login(from, name, "wrong"); {
		case errors.Is(err, ErrInvalid):
			checked++
		case !errors.Is(err, ErrThrottled):
			c.t.Fatal(err)
		}
	}
	return checked
}

func (c *clocked) ok(what, from, name, password string) {
	c.t.Helper()
	if err := c.login(from, name, password); err != nil {
		c.t.Errorf("%s: %v", what, err)
	}
}

func (c *clocked) throttled(what, from, name, password string) {
	c.t.Helper()
	if err := c.login(from, name, password); !errors.Is(err, ErrThrottled) {
		c.t.Errorf("%s: want ErrThrottled, got %v", what, err)
	}
}

func TestPausesGrow(t *testing.T) {
	for _, name := range []string{"alice", "nobody"} { // the result does not reveal whether the user exists
		c := newClocked(t)
		for i, want := range []time.Duration{0, 250, 500, 1000, 2000, 4000, 5000, 5000} {
			c.failures(1, "192.0.2.1", name)
			if c.paused != want*time.Millisecond {
				t.Errorf("%s: failure %d waits %v, want %v", name, i+1, c.paused, want*time.Millisecond)
			}
		}
	}
	c := newClocked(t)
	c.failures(3, "192.0.2.1", "alice")
	c.ok("after some mistakes", "192.0.2.1", "alice", "a")
	c.failures(1, "192.0.2.1", "alice")
	if c.paused != 0 {
		t.Errorf("a success did not end the count: %v", c.paused)
	}
	// From where the user may not log in, the pause does not reveal that the password is right.
	for i := range 3 {
		if err := c.login("198.51.100.1", "carol", "c"); !errors.Is(err, ErrNotAllowed) || (c.paused > 0) != (i > 0) {
			t.Errorf("login %d from a wrong network: %v, waits %v", i+1, err, c.paused)
		}
	}
}

// TestGuessingIsLockedOut: guessing the password of one user from one network is locked out,
// however the name and the address are written; nobody else is affected.
func TestGuessingIsLockedOut(t *testing.T) {
	c := newClocked(t)
	if n := c.failures(6, "2001:db8::1", "alice") + c.failures(6, "2001:db8::2", "ALICE@example.org"); n != pairLimit {
		t.Errorf("%d guesses were checked", n)
	}
	// A name that no user has must not be told from one by that.
	if n := c.failures(6, "2001:db8:0:2::1", "nobody") + c.failures(6, "2001:db8:0:2::2", c.check.wholeName(c.current(), "NOBODY")); n != pairLimit {
		t.Errorf("%d guesses for an unknown name were checked", n)
	}
	c.throttled("the right password", "2001:db8::3", "alice", "a")
	c.ok("another user from there", "2001:db8::1", "bob", "b")
	c.ok("from elsewhere", "2001:db8:0:1::1", "alice", "a")

	// Attempts in the meantime do not extend the lock.
	c.now = c.now.Add(lockFirst - time.Second)
	if n := c.failures(100, "2001:db8::1", "alice"); n != 0 {
		t.Errorf("%d guesses were checked during the lock", n)
	}
	c.now = c.now.Add(2 * time.Second)
	// The next lock comes after fewer failures and is twice as long.
	if n := c.failures(100, "2001:db8::1", "alice"); n != pairLimit/2 {
		t.Errorf("%d guesses were checked after the lock", n)
	}
	c.now = c.now.Add(lockFirst + time.Second)
	c.throttled("in the second lock", "2001:db8::1", "alice", "a")
	c.now = c.now.Add(lockFirst)
	c.ok("after the second lock", "2001:db8::1", "alice", "a")
}

// TestGuessRate: a day of guessing from one address allows few guesses.
func TestGuessRate(t *testing.T) {
	c := newClocked(t)
	checked := 0
	for end := c.now.Add(24 * time.Hour); c.now.Before(end); c.now = c.now.Add(time.Second) {
		checked += c.failures(1, "192.0.2.1", "alice")
	}
	if checked > 700 {
		t.Errorf("%d guesses a day", checked)
	}
}

// TestSprayingIsLockedOut: one network tries many users.
func TestSprayingIsLockedOut(t *testing.T) {
	c := newClocked(t)
	c.ok("before", "192.0.2.1", "bob", "b")
	for i := range networkLimit {
		c.failures(1, "192.0.2.1", fmt.Sprint("user", i))
	}
	c.throttled("from the sprayer's network", "192.0.2.1", "alice", "a")
	c.ok("who logged in from there before", "192.0.2.1", "bob", "b")
	c.ok("from elsewhere", "192.0.2.2", "alice", "a")
	for i := range networkLimit { // local programs, on a Unix socket
		c.Failed(context.Background(), netip.Addr{}, fmt.Sprint("user", i))
	}
	if err := c.Admit(netip.Addr{}, "alice"); err != nil {
		t.Errorf("another local program: %v", err)
	}
}

// TestNobodyLocksAUserOut: many computers keep guessing alice's password. She can always log in
// from networks where she did before, and sometimes from new ones.
func TestNobodyLocksAUserOut(t *testing.T) {
	c := newClocked(t)
	c.ok("before", "198.51.100.1", "alice", "a")
	inNewPlace, hours := 0, 6
	for minute := range 60 * hours {
		for i := range 20 {
			c.failures(1, fmt.Sprintf("203.0.%d.%d", minute%256, i), "alice")
		}
		c.ok("where she is known", "198.51.100.1", "alice", "a")
		// Each time from another network.
		if c.login(fmt.Sprintf("192.%d.2.%d", minute/250, minute%250), "alice", "a") == nil {
			inNewPlace++
		}
		c.now = c.now.Add(time.Minute)
	}
	if inNewPlace < hours {
		t.Errorf("in new places she got in %d times in %d hours", inNewPlace, hours)
	}
	if inNewPlace > 60*hours/2 {
		t.Errorf("the many were hardly slowed down: %d", inNewPlace)
	}
}

func TestCountsAreForgotten(t *testing.T) {
	c := newClocked(t)
	c.failures(pairLimit-1, "192.0.2.1", "alice")
	c.now = c.now.Add(forgetAfter + time.Second)
	c.failures(1, "192.0.2.1", "alice")
	if c.paused != 0 {
		t.Errorf("waits %v", c.paused)
	}
	c.ok("afterwards", "192.0.2.1", "alice", "a")
}

// TestCountsAreBounded: endless names and addresses cost limited memory, and do not make the
// throttle forget a lock.
func TestCountsAreBounded(t *testing.T) {
	c := newClocked(t)
	c.failures(pairLimit, "192.0.2.1", "alice")
	th := c.check.throttle
	for i := range mostCounts {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		for range pairLimit - 1 { // alice has fewer since she was locked
			th.failed(a, fmt.Sprint("name", i))
		}
		if i%1000 == 0 && len(th.counts) > mostCounts {
			t.Fatalf("%d counts", len(th.counts))
		}
	}
	c.throttled("still", "192.0.2.1", "alice", "a")
	for i := range mostCounts + 10 {
		th.succeeded(netip.Addr{}, fmt.Sprint("name", i))
	}
	if len(th.trusted) > mostCounts {
		t.Errorf("%d trusted", len(th.trusted))
	}
}

// TestLongNamesAreNotKept: names of any length, of which only the beginning counts, take little memory.
func TestLongNamesAreNotKept(t *testing.T) {
	c := newClocked(t)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const names, length = 2000, 9000 // as long as AUTH of SMTP can make them
	before := heap()
	for i := range names {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		c.Failed(t.Context(), a, fmt.Sprintf("%d@%s", i, strings.Repeat("x", length)))
	}
	if grown := heap() - before; grown > names*length/4 {
		t.Errorf("%d failures of long names take %d bytes", names, grown)
	}
	runtime.KeepAlive(c)
}

// TestParallelGuesses: many guesses arrive before the first one is checked. Those that wait for
// their turn are not checked when enough have failed.
func TestParallelGuesses(t *testing.T) {
	u, _, _ := open(t, "alice@example.org:{PLAIN}a\n")
	const guesses = 400
	asked := make(chan struct{}, 2*guesses) // the throttle reads the clock for each guess
	u.check.throttle.now = func() time.Time {
		select {
		case asked <- struct{}{}:
		default:
		}
		return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	u.check.throttle.pause = func(context.Context, time.Duration) {}
	for range cap(u.check.slots) {
		u.check.slots <- struct{}{}
	}
	var checked atomic.Int32
	var wg sync.WaitGroup
	for range guesses {
		wg.Go(func() {
			if _, err := u.Authenticate(context.Background(), netip.MustParseAddr("192.0.2.1"), "alice", "x"); errors.Is(err, ErrInvalid) {
				checked.Add(1)
			}
		})
	}
	for range guesses {
		<-asked
	}
	for range cap(u.check.slots) {
		<-u.check.slots
	}
	wg.Wait()
	// Some are checked between the end of another check and its count.
	if n := int(checked.Load()); n > guesses/4 {
		t.Errorf("%d guesses of %d were checked, the limit is %d", n, guesses, pairLimit)
	}
}

// TestSCRAMIsCounted: failed proofs of SCRAM count, too.
func TestSCRAMIsCounted(t *testing.T) {
	c := newClocked(t)
	from := netip.MustParseAddr("192.0.2.1")
	for range pairLimit {
		if err := c.Admit(from, "alice"); err != nil {
			t.Fatal(err)
		}
		c.Failed(context.Background(), from, "Alice")
	}
	if err := c.Admit(from, "alice"); !errors.Is(err, ErrThrottled) {
		t.Error(err)
	}
	c.throttled("with a password", "192.0.2.1", "alice", "a")
	c.Succeeded(from, "bob")
	if err := c.Admit(from, "bob"); err != nil {
		t.Error(err)
	}
}

// TestUnknownUserIsNoOracle: a guess for an unknown user never reveals another user's password,
// and is never remembered, like one for a user who may not log in from there.
func TestUnknownUserIsNoOracle(t *testing.T) {
	c := newClocked(t)
	for range 3 {
		if err := c.login("192.0.2.1", "nobody", "a"); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
	if err := c.login("192.0.2.2", "carol", "c"); !errors.Is(err, ErrNotAllowed) {
		t.Error(err)
	}
	if n := len(c.check.known); n != 0 {
		t.Errorf("%d remembered", n)
	}
}

// TestUnknownUsersCostWhatUsersCost: if the file contains different schemes, the cost does not
// reveal whether a user exists.
func TestUnknownUsersCostWhatUsersCost(t *testing.T) {
	stored := func(scheme string) string {
		h, err := HashPassword(scheme, rand.Text())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	text := "a@example.org:{PLAIN}a\nb@example.org:" + stored("SSHA256") + "\nc@example.org:" + stored("SSHA256") + "\nd@example.org:" + stored("ARGON2ID") + "\n"
	u, _, _ := open(t, text)
	now := u.current()
	const names = 4000
	shares := map[string]int{}
	for i := range names {
		name := fmt.Sprintf("nobody%d", i)
		h := u.check.standIn(now, name).hash
		shares[h[:strings.IndexByte(h, '}')+1]]++
		if with := u.check.standIn(now, u.check.wholeName(now, name)).hash; with != h {
			t.Fatalf("%s costs as %s, and with a domain as %s", name, h, with)
		}
	}
	for scheme, want := range map[string]int{"{PLAIN}": names / 4, "{SSHA256}": names / 2, "{ARGON2ID}": names / 4} {
		if got := shares[scheme]; got < want*3/4 || got > want*5/4 {
			t.Errorf("%d of %d unknown names cost what %s costs, want about %d", got, names, scheme, want)
		}
	}
	// An additional user leaves nearly all costs unchanged.
	more, _ := parse([]byte(text+"x@example.org:"+stored("SSHA256")+"\n"), domains)
	moved := 0
	for i := range names {
		name := fmt.Sprintf("nobody%d", i)
		a, b := u.check.standIn(now, name).hash, u.check.standIn(more, name).hash
		if a[:4] != b[:4] {
			moved++
		}
	}
	if moved > names/3 {
		t.Errorf("a new user moved %d of %d", moved, names)
	}
	if got := u.check.standInHash(&table{}, "x"); !strings.HasPrefix(got, "{"+defaultScheme+"}") {
		t.Errorf("without users an unknown one costs %s", got)
	}
}

// TestImproperPasswords: a password that no user can have is refused like any other.
func TestImproperPasswords(t *testing.T) {
	u, _, _ := open(t, "a@example.org:{PLAIN}x\n")
	for _, password := range []string{"", "x\x00", "x\n", strings.Repeat("x", MaxPassword+1)} {
		if _, err := u.Authenticate(t.Context(), netip.Addr{}, "a", password); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.10q: %v", password, err)
		}
		u.check.throttle = newThrottle()
	}
	if _, err := u.Authenticate(t.Context(), netip.Addr{}, "a", "x"); err != nil {
		t.Error(err)
	}
}

// TestLookAlikes: a letter whose lower case is an ASCII letter is different from that letter.
func TestLookAlikes(t *testing.T) {
	u, _, _ := open(t, "mike@example.org:{PLAIN}m\nÄrger@example.org:{PLAIN}x\n")
	for name, want := range map[string]bool{
		"MIKE@example.org": true, "mi\u212ae@example.org": false, "m\u0130ke@example.org": false,
		"ÄRGER@example.org": true, "ärger@EXAMPLE.org": true,
	} {
		if _, ok := u.Lookup(name); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
}

// TestRefusalsAreToldOnce: a flood of logins during a lock causes one log line for each lock.
func TestRefusalsAreToldOnce(t *testing.T) {
	c := newClocked(t)
	for lock := range 3 {
		for c.failures(1, "192.0.2.1", "alice") == 1 {
		}
		// The first refusal was the one above.
		for range 100 {
			if err := c.login("192.0.2.1", "alice", "wrong"); !errors.Is(err, ErrThrottledAgain) || !errors.Is(err, ErrThrottled) {
				t.Fatalf("in lock %d: %v", lock, err)
			}
		}
		c.now = c.now.Add(lockLongest)
		c.failures(pairLimit/2-1, "192.0.2.1", "alice")
		if err := c.login("192.0.2.1", "alice", "wrong"); !errors.Is(err, ErrInvalid) {
			t.Fatalf("after lock %d: %v", lock, err)
		}
		if err := c.Admit(netip.MustParseAddr("192.0.2.1"), "alice"); err != ErrThrottled {
			t.Errorf("the first in the lock after %d: %v", lock, err)
		}
	}
}
