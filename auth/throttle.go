package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// ErrThrottled is for logins that are not checked for some minutes, because
// many failed. ErrThrottledAgain is one for all but the first of a lock, which
// are not worth a line in the log: a flood of them would fill it.
var (
	ErrThrottled      = errors.New("too many failed logins, try again later")
	ErrThrottledAgain = fmt.Errorf("%w: not the first time", ErrThrottled)
)

// Failed logins are counted in three ways, each with a limit that locks out
// what is counted: of a user from a network (guessing), of all users from a
// network (trying one password for many), of a user from everywhere (guessing
// with many computers). The last two do not hold where the user logged in
// before, so that nobody can lock another out from there; and what is tried
// during a lock is not counted, so that it ends.
const (
	pairLimit    = 10
	networkLimit = 40
	userLimit    = 60

	// Locks are this long, each one twice the one before.
	lockFirst   = time.Minute
	lockLongest = 15 * time.Minute
	// forgetAfter is how long after the last failure, or lock, a count ends.
	forgetAfter = time.Hour
	// trustFor is how long a network is one where a user logged in before.
	trustFor = 30 * 24 * time.Hour

	// The answer to a failure waits, twice as long for each.
	pauseFirst   = 250 * time.Millisecond
	pauseLongest = 5 * time.Second
	// pauseWide is how many failures of a network or a user make for one of
	// a pair: they may be mistakes of several people.
	pauseWide = 5

	// mostCounts bounds the memory: some 100 bytes each.
	mostCounts = 50_000
)

// counted is what failures are counted of. The zero network is that of peers
// without an address, on Unix sockets.
type counted struct {
	network netip.Prefix
	user    string
	kind    countKind
}

// countKind says which fields of counted count.
type countKind uint8

const (
	ofPair countKind = iota
	ofNetwork
	ofUser
)

func (k countKind) limit() int { return [...]int{pairLimit, networkLimit, userLimit}[k] }

// count is the failures of one counted, and the lock that came of them.
type count struct {
	failures int
	locks    int
	until    time.Time // of the lock
	told     bool      // it refused a login
	last     time.Time // of a failure
}

// throttle slows guessing down. Safe for concurrent use.
type throttle struct {
	now   func() time.Time
	pause func(context.Context, time.Duration)

	mu      sync.Mutex
	counts  map[counted]*count
	trusted map[counted]time.Time // pairs that logged in, and until when
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

// Network is what connections and logins of one peer are counted by: the address for
// IPv4 and its /64 for IPv6, which is what one subscriber has.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// keys are the three counts that a login belongs to.
func keys(from netip.Addr, user string) [3]counted {
	n := Network(from)
	return [3]counted{{n, user, ofPair}, {n, "", ofNetwork}, {user: user, kind: ofUser}}
}

// refused returns ErrThrottled, or ErrThrottledAgain, if a login is not to be
// checked now.
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

// failed counts a failure and returns how long its answer has to wait.
func (t *throttle) failed(from netip.Addr, user string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	step := 0
	for _, k := range keys(from, user) {
		if k.kind == ofNetwork && !k.network.IsValid() {
			continue // all local programs
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

// countOne returns how many failures there were of late.
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
		c.failures /= 2 // what may come when the lock has ended
	}
	return n
}

// makeRoom keeps the table within its bound: what is old goes, then what has
// counted little.
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

// succeeded notes a login. It ends the count of the pair only: who has one
// password cannot so make good for guessing others.
func (t *throttle) succeeded(from netip.Addr, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keys(from, user)[ofPair]
	delete(t.counts, k)
	now := t.now()
	if _, known := t.trusted[k]; !known && len(t.trusted) >= mostCounts {
		for k, until := range t.trusted {
			if now.After(until) {
				delete(t.trusted, k)
			}
		}
		if len(t.trusted) >= mostCounts {
			clear(t.trusted)
		}
	}
	t.trusted[k] = now.Add(trustFor)
}
