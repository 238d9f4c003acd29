package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// ErrInvalid is for an unknown user and a wrong password alike.
var ErrInvalid = errors.New("user or password is wrong")

const (
	// rememberFor is how long a password that was right is not hashed again:
	// IMAP clients log in many times in a row.
	rememberFor = 5 * time.Minute
	// rememberMost bounds how many are remembered.
	rememberMost = 10_000
)

// checker checks passwords, a few at a time: each takes memory and time.
type checker struct {
	slots chan struct{}
	key   [32]byte // of this process
	now   func() time.Time

	throttle *throttle
	// dummy is checked for unknown users where there are no others.
	dummy func() string

	mu    sync.Mutex
	known map[[32]byte]time.Time // when what was right may no longer be trusted
}

func newChecker() *checker {
	c := &checker{
		slots: make(chan struct{}, runtime.NumCPU()),
		now:   time.Now, known: map[[32]byte]time.Time{}, throttle: newThrottle(),
		dummy: sync.OnceValue(func() string {
			h, err := HashPassword(defaultScheme, rand.Text())
			if err != nil {
				return "{PLAIN}"
			}
			return h
		}),
	}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

// Authenticate checks a password that comes from an address (the zero one for
// Unix sockets). The error is ErrInvalid if user or password is wrong, or
// ErrNotAllowed, after the same time in all cases, which grows with the number
// of failures; ErrThrottled after too many of them, whether the password is
// right or not; or the context's error.
func (u *Users) Authenticate(ctx context.Context, from netip.Addr, name, password string) (User, error) {
	t := u.current()
	e := t.find(name)
	key := countedName(e, name)
	proper := checkPassword(password) == nil
	if !proper {
		password = "x" // it cannot be anybody's, and costs what others do
	}
	var ok bool
	var err error
	if e == nil {
		_, err = u.check.check(ctx, key, from, u.check.standInHash(t, key), password, false)
	} else {
		ok, err = u.check.check(ctx, key, from, e.hash, password, proper)
		ok = ok && proper
	}
	switch {
	case ctx.Err() != nil:
		return User{}, ctx.Err()
	case errors.Is(err, ErrThrottled):
		return User{}, err
	case err != nil && e != nil:
		u.log.Error("a password in the users file cannot be checked", "user", e.user.Name, "error", err)
	}
	if !ok || err != nil {
		u.failed(ctx, from, key)
		return User{}, ErrInvalid
	}
	if !e.allows(from) {
		u.failed(ctx, from, key)
		return User{}, ErrNotAllowed
	}
	u.check.throttle.succeeded(from, key)
	return e.user, nil
}

// Admit is for logins that are proved without Authenticate, as by SCRAM: it
// returns ErrThrottled if this one is not to be checked now. Failed or
// Succeeded follows.
func (u *Users) Admit(from netip.Addr, name string) error {
	return u.check.throttle.refused(from, u.countedName(name))
}

// Failed counts a login that failed and returns when it may be answered, or
// ctx has ended.
func (u *Users) Failed(ctx context.Context, from netip.Addr, name string) {
	u.failed(ctx, from, u.countedName(name))
}

// Succeeded notes a login that was proved.
func (u *Users) Succeeded(from netip.Addr, name string) {
	u.check.throttle.succeeded(from, u.countedName(name))
}

func (u *Users) failed(ctx context.Context, from netip.Addr, key string) {
	if d := u.check.throttle.failed(from, key); d > 0 {
		u.check.throttle.pause(ctx, d)
	}
}

func (u *Users) countedName(name string) string { return countedName(u.current().find(name), name) }

// countedName is what failures of a name are counted by: the user, whichever
// way the name is written, or the name where there is none.
func countedName(e *entry, name string) string {
	if e != nil {
		return e.user.Name
	}
	return Fold(name[:min(len(name), longestName)])
}

// standInHash is the hash that is checked for a name that no user has.
func (c *checker) standInHash(t *table, name string) string {
	if e := c.standIn(t, name); e != nil {
		return e.hash
	}
	return c.dummy()
}

// check tells whether a password is the stored one. With known, one that was
// right a moment ago is not hashed again.
func (c *checker) check(ctx context.Context, key string, from netip.Addr, stored, password string, known bool) (bool, error) {
	if err := c.throttle.refused(from, key); err != nil {
		return false, err
	}
	id := c.identity(stored, password)
	if known && c.remembered(id) {
		return true, nil
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-c.slots }()
	// Others may have failed while this one waited, many at once.
	if err := c.throttle.refused(from, key); err != nil {
		return false, err
	}
	ok, err := matches(stored, []byte(password))
	if known && ok && err == nil {
		c.remember(id)
	}
	return ok, err
}

// identity is a keyed hash of a password and what it was checked against: the
// password cannot be had from it, and a changed one is another.
func (c *checker) identity(stored, password string) [32]byte {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(stored))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	return [32]byte(mac.Sum(nil))
}

func (c *checker) remembered(id [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.known[id]
	return ok && c.now().Before(until)
}

func (c *checker) remember(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.known) >= rememberMost {
		for k, until := range c.known {
			if now.After(until) {
				delete(c.known, k)
			}
		}
		if len(c.known) >= rememberMost {
			clear(c.known)
		}
	}
	c.known[id] = now.Add(rememberFor)
}
