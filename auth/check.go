package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
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
	// dummy is checked for unknown users, so that they take as long as others.
	dummy func() string

	mu    sync.Mutex
	known map[[32]byte]time.Time // when what was right may no longer be trusted
}

func newChecker() *checker {
	c := &checker{
		slots: make(chan struct{}, runtime.NumCPU()),
		now:   time.Now, known: map[[32]byte]time.Time{},
		dummy: sync.OnceValue(func() string {
			h, err := HashPassword(DefaultScheme, rand.Text())
			if err != nil {
				return "{PLAIN}"
			}
			return h
		}),
	}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

// Authenticate checks a password. The error is ErrInvalid if user or password
// is wrong, after the same time in both cases, or the context's error.
func (u *Users) Authenticate(ctx context.Context, name, password string) (User, error) {
	t := u.current()
	e := t.find(name)
	if checkPassword(password) != nil {
		e, password = nil, "x"
	}
	stored := t.typicalHash(u.check.dummy)
	if e != nil {
		stored = e.hash
	}
	ok, err := u.check.check(ctx, stored, password)
	switch {
	case ctx.Err() != nil:
		return User{}, ctx.Err()
	case e == nil:
		return User{}, ErrInvalid
	case err != nil:
		u.log.Error("a password in the users file cannot be checked", "user", e.user.Name, "error", err)
		return User{}, ErrInvalid
	case !ok:
		return User{}, ErrInvalid
	}
	return e.user, nil
}

// typicalHash is a hash that costs what those of most users cost: the first
// user's scheme stands for all.
func (t *table) typicalHash(dummy func() string) string {
	if len(t.entries) > 0 {
		return t.entries[0].hash
	}
	return dummy()
}

func (c *checker) check(ctx context.Context, stored, password string) (bool, error) {
	id := c.identity(stored, password)
	if c.remembered(id) {
		return true, nil
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-c.slots }()
	ok, err := matches(stored, []byte(password))
	if ok && err == nil {
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
