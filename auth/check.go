package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// ErrInvalid is for an unknown user and for a wrong password alike.
var ErrInvalid = errors.New("user or password is wrong")

const (
	// rememberFor is how long a correct password is not hashed again, because IMAP clients log
	// in many times in a row.
	rememberFor = 5 * time.Minute
	// rememberMost is the maximum number of passwords that are remembered.
	rememberMost = 10_000
)

// checker checks passwords. Only a few are checked at a time, because each takes memory and time:
// one for each processor, of which one may take more than largeMemory, and 1 GiB at most.
type checker struct {
	slots chan struct{}
	large chan struct{} // also held by a check that takes more than largeMemory
	key   [32]byte      // random key of this process
	now   func() time.Time

	throttle *throttle
	// dummy returns a hash to check for unknown users if there are no users.
	dummy func() string

	mu    sync.Mutex
	known map[[32]byte]time.Time // until when a correct password is remembered
}

func newChecker() *checker {
	c := &checker{
		slots: make(chan struct{}, runtime.NumCPU()), large: make(chan struct{}, 1),
		now: time.Now, known: map[[32]byte]time.Time{}, throttle: newThrottle(),
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

// Authenticate checks a password from an address (the zero one for Unix sockets). The error is
// ErrInvalid if the user or the password is wrong, ErrNotAllowed or ErrNoLogin; all are returned
// after the same time, which grows with the number of failures. After too many failures it is
// ErrThrottled, whether the password is correct or not. It may also be the error of ctx.
func (u *Users) Authenticate(ctx context.Context, from netip.Addr, name, password string) (User, error) {
	t := u.current()
	e := t.find(name)
	key := u.check.countedName(t, e, name)
	proper := checkPassword(password) == nil
	if !proper {
		password = "x" // nobody can have it, and it costs the same as others
	}
	var ok bool
	var err error
	canLogIn := e != nil && e.noLogin == nil
	if !canLogIn {
		_, err = u.check.check(ctx, key, from, u.check.standInHash(t, key), password, false)
	} else {
		// Where the user may not log in, a correct password takes as long as a wrong one.
		ok, err = u.check.check(ctx, key, from, e.hash, password, proper && e.allows(from))
		ok = ok && proper
	}
	switch {
	case ctx.Err() != nil:
		return User{}, ctx.Err()
	case errors.Is(err, ErrThrottled):
		return User{}, err
	case err != nil && canLogIn:
		u.log.Error("a password in the users file cannot be checked", "user", e.user.Name, "error", err)
	}
	if !ok || err != nil {
		u.failed(ctx, from, key)
		if e != nil && !canLogIn {
			return User{}, ErrNoLogin
		}
		return User{}, ErrInvalid
	}
	if !e.allows(from) {
		u.failed(ctx, from, key)
		return User{}, ErrNotAllowed
	}
	u.check.throttle.succeeded(from, key)
	return e.user, nil
}

// Admit is for logins that do not use Authenticate, such as those with SCRAM. It returns
// ErrThrottled if the login must not be checked at the moment. Otherwise the caller must
// call Failed or Succeeded.
func (u *Users) Admit(from netip.Addr, name string) error {
	return u.check.throttle.refused(from, u.countedName(name))
}

// Failed counts a failed login. It returns when the reply may be sent, or when ctx ends.
func (u *Users) Failed(ctx context.Context, from netip.Addr, name string) {
	u.failed(ctx, from, u.countedName(name))
}

// Succeeded notes a successful login.
func (u *Users) Succeeded(from netip.Addr, name string) {
	u.check.throttle.succeeded(from, u.countedName(name))
}

func (u *Users) failed(ctx context.Context, from netip.Addr, key string) {
	if d := u.check.throttle.failed(from, key); d > 0 {
		u.check.throttle.pause(ctx, d)
	}
}

func (u *Users) countedName(name string) string {
	t := u.current()
	return u.check.countedName(t, t.find(name), name)
}

// countedName returns the name that failures are counted by, however it was written: that of the
// user, or what wholeName makes of it if there is no such user.
func (c *checker) countedName(t *table, e *entry, name string) string {
	if e != nil {
		return e.user.Name
	}
	return c.wholeName(t, strings.Clone(name[:min(len(name), maxNameLen)])) // what follows is not kept
}

// standInHash returns the hash that is checked for a name that no user who can log in has.
func (c *checker) standInHash(t *table, name string) string {
	if e := c.standIn(t, name); e != nil {
		return e.hash
	}
	return c.dummy()
}

// check reports whether a password matches the stored one. With known, a recently checked
// correct password is not hashed again.
func (c *checker) check(ctx context.Context, key string, from netip.Addr, stored, password string, known bool) (bool, error) {
	if err := c.throttle.refused(from, key); err != nil {
		return false, err
	}
	id := c.identity(stored, password)
	if known && c.remembered(id) {
		return true, nil
	}
	waitFor := []chan struct{}{c.slots}
	large := memoryOf(stored) > largeMemory
	if large {
		waitFor = []chan struct{}{c.large, c.slots} // in this order: who waits for large keeps nobody else waiting
	}
	for _, slot := range waitFor {
		select {
		case slot <- struct{}{}:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		defer func() { <-slot }()
	}
	if large {
		defer debug.FreeOSMemory() // before the next one takes as much
	}
	// Other logins may have failed while this one waited.
	if err := c.throttle.refused(from, key); err != nil {
		return false, err
	}
	ok, err := matches(stored, []byte(password))
	if known && ok && err == nil {
		c.remember(id)
	}
	return ok, err
}

// identity returns a keyed hash of a password and the stored hash. It does not reveal the
// password, and differs after a change of the password.
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
	makeRoom(c.known, rememberMost, now)
	c.known[id] = now.Add(rememberFor)
}
