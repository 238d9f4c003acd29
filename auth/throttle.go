package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// ErrThrottled is for logins that are not checked for some minutes, because many have failed.
// ErrThrottledAgain is an ErrThrottled for all but the first login during a lock. It should not
// be logged, because a flood of such logins would fill the log.
var (
	ErrThrottled      = errors.New("too many failed logins, try again later")
	ErrThrottledAgain = fmt.Errorf("%w: not the first time", ErrThrottled)
)

// Failed logins are counted in three ways, each with a limit that causes a lock: for a user
// from a network (guessing), for all users from a network (trying a password for many users),
// and for a user from everywhere (guessing with many computers). The last two locks do not
// apply in networks from which the user has logged in before, so that nobody can lock out
// another user there. Logins during a lock are not counted, so that the lock ends.
const (
	pairLimit    = 10
	networkLimit = 40
	userLimit    = 60

	// Durations of locks. Each is twice the preceding one.
	lockFirst   = time.Minute
	lockLongest = 15 * time.Minute
	// forgetAfter is the time after the last failure or lock at which a count is dropped.
	forgetAfter = time.Hour
	// trustFor is how long a network counts as one from which the user has logged in before.
	trustFor = 30 * 24 * time.Hour

	// Delays of the reply to a failure. Each is twice the preceding one.
	pauseFirst   = 250 * time.Millisecond
	pauseLongest = 5 * time.Second
	// pauseWide is how many failures of a network or a user weigh as much as one of a pair,
	// since they may be mistakes of several people.
	pauseWide = 5

	// mostCounts limits the memory, about 100 bytes per count.
	mostCounts = 50_000
)

// counted identifies a count. The zero network is that of peers without an
// address, on Unix sockets.
type counted struct {
	network netip.Prefix
	user    string
	kind    countKind
}

// countKind says which fields of counted are used.
type countKind uint8

const (
	ofPair countKind = iota
	ofNetwork
	ofUser
)

func (k countKind) limit() int { return [...]int{pairLimit, networkLimit, userLimit}[k] }

// count is the number of failures, and the lock that they caused.
type count struct {
	failures int
	locks    int
	until    time.Time // end of the lock
	told     bool      // the lock has refused a login
	last     time.Time // the last failure
}

// throttle slows down guessing. It is safe for concurrent use.
type throttle struct {
	now   func() time.Time
	pause func(context.Context, time.Duration)

	mu      sync.Mutex
	counts  map[counted]*count
	trusted map[counted]time.Time // pairs that have logged in, with the end of the trust
}

func newThrottle() *throttle {
	return &throttle{now: time.Now, pause: pause, counts: map[counted]*count{}, trusted: map[counted]time.Time{}}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Network returns the prefix by which connections and logins of a peer are counted: its address
// for IPv4, its /64 for IPv6, which is what a single subscriber has.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// keys returns the three counts that a login belongs to.
func keys(from netip.Addr, user string) [3]counted {
	n := Network(from)
	return [3]counted{{n, user, ofPair}, {n, "", ofNetwork}, {user: user, kind: ofUser}}
}

// refused returns ErrThrottled or ErrThrottledAgain if a login must not be
// checked at the moment.
func (t *throttle) refused(from netip.Addr, user string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	k := keys(from, user)
	if err := t.locked(k[ofPair], now); err != nil || now.Before(t.trusted[k[ofPair]]) {
		return err
	}
	if err := t.locked(k[ofNetwork], now); err != nil {
		return err
	}
	return t.locked(k[ofUser], now)
}

func (t *throttle) locked(k counted, now time.Time) error {
	c := t.counts[k]
	switch {
	case c == nil || !now.Before(c.until):
		return nil
	case c.told:
		return ErrThrottledAgain
	}
	c.told = true
	return ErrThrottled
}

// failed counts a failure and returns the delay of the reply.
func (t *throttle) failed(from netip.Addr, user string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	step := 0
	for _, k := range keys(from, user) {
		if k.kind == ofNetwork && !k.network.IsValid() {
			continue // they are all local programs
		}
		n := t.countOne(k, now)
		if k.kind != ofPair {
			n /= pauseWide
		}
		step = max(step, n)
	}
	if step < 2 {
		return 0 // everybody mistypes once
	}
	return min(pauseFirst<<min(step-2, 10), pauseLongest)
}

// countOne counts a failure, and returns how many there were recently.
func (t *throttle) countOne(k counted, now time.Time) int {
	c := t.counts[k]
	if c != nil && now.Sub(c.last) > forgetAfter && now.Sub(c.until) > forgetAfter {
		c = nil
	}
	if c == nil {
		t.makeRoom(now)
		c = &count{}
		t.counts[k] = c
	}
	c.failures++
	c.last = now
	n := c.failures
	if n >= k.kind.limit() {
		c.until = now.Add(min(lockFirst<<min(c.locks, 10), lockLongest))
		c.locks++
		c.told = false
		c.failures /= 2 // so that half as many failures cause the next lock
	}
	return n
}

// makeRoom keeps the table within its limit: it removes old counts first, then small ones.
func (t *throttle) makeRoom(now time.Time) {
	if len(t.counts) < mostCounts {
		return
	}
	for few := 0; few < userLimit && len(t.counts) > mostCounts/2; few = 2*few + 1 {
		for k, c := range t.counts {
			if now.Before(c.until) {
				continue
			}
			if c.failures <= few || now.Sub(c.last) > forgetAfter {
				delete(t.counts, k)
			}
		}
	}
	if len(t.counts) >= mostCounts {
		clear(t.counts)
	}
}

// succeeded notes a login. It only resets the count of the pair, so that someone who has one
// password cannot use it to continue guessing others.
func (t *throttle) succeeded(from netip.Addr, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keys(from, user)[ofPair]
	delete(t.counts, k)
	now := t.now()
	if _, known := t.trusted[k]; !known {
		makeRoom(t.trusted, mostCounts, now)
	}
	t.trusted[k] = now.Add(trustFor)
}

// makeRoom removes from a map with most entries those whose time is over, or else all.
func makeRoom[K comparable](m map[K]time.Time, most int, now time.Time) {
	if len(m) < most {
		return
	}
	maps.DeleteFunc(m, func(_ K, until time.Time) bool { return now.After(until) })
	if len(m) >= most {
		clear(m)
	}
}
