// Package limit counts and limits what clients use of a server, across all protocols:
// connections, the mail that users send, and shares of memory.
package limit

import (
	"cmp"
	"errors"
	"net/netip"
	"sync"
	"time"

	"maildird/auth"
)

// Reasons to refuse a connection or a login.
var (
	ErrFull    = errors.New("too many connections")
	ErrAddress = errors.New("too many connections from this address")
	ErrRate    = errors.New("too many new connections from this address in a minute")
	ErrUser    = errors.New("too many connections for this user")
)

// Limits are limits on connections. A limit of 0 means the default, which each
// comment gives last.
type Limits struct {
	Total     int // of all services together; 10,000
	PerIP     int // of one address, or one /64 for IPv6; 100
	PerUser   int // logged in as the same user; 50
	PerMinute int // new ones of one address per minute, except loopback; 600
}

func (l *Limits) setDefaults() {
	l.Total = cmp.Or(l.Total, 10_000)
	l.PerIP = cmp.Or(l.PerIP, 100)
	l.PerUser = cmp.Or(l.PerUser, 50)
	l.PerMinute = cmp.Or(l.PerMinute, 600)
}

// Within returns the total limit on connections for a program that may open a number of files:
// at most half of them, since the rest is needed for mail.
func Within(files uint64, connections int) int {
	return int(max(1, min(uint64(connections), files/2)))
}

// maxCountedAddresses is the maximum number of addresses that are counted within a minute. Each
// takes about 100 bytes.
const maxCountedAddresses = 100_000

// Connections counts the connections of all services of a process. It is safe
// for concurrent use.
type Connections struct {
	limits Limits
	pace   pace

	mu       sync.Mutex
	total    int
	services map[string]int
	perIP    map[netip.Prefix]int
	perUser  map[string]int
	minute   time.Time            // start of the current minute, for opened and told
	opened   map[netip.Prefix]int // new connections in this minute
	told     map[told]struct{}
}

// told is a service and a network whose refusal was logged in the current minute.
type told struct {
	service string
	from    netip.Prefix
}

// New returns a Connections without connections.
func New(l Limits) *Connections {
	l.setDefaults()
	return &Connections{
		limits: l, pace: newPace(), services: map[string]int{}, perIP: map[netip.Prefix]int{}, perUser: map[string]int{},
		opened: map[netip.Prefix]int{}, told: map[told]struct{}{},
	}
}

// Admit counts a new connection to a service, or returns the reason to refuse it: ErrFull,
// ErrAddress or ErrRate. Peers with the zero address are not counted by address: Unix sockets
// and trusted relays. A single service can have at most three quarters of all connections, so
// that a flood on one leaves the others reachable.
func (c *Connections) Admit(service string, from netip.Addr, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= c.limits.Total || c.services[service] >= c.limits.Total-c.limits.Total/4 {
		return ErrFull
	}
	if from.IsValid() {
		n := auth.Network(from)
		if c.tooFast(n, now) {
			return ErrRate
		}
		if c.perIP[n] >= c.limits.PerIP {
			return ErrAddress
		}
		c.perIP[n]++
	}
	c.total++
	c.services[service]++
	return nil
}

// tooFast counts a new connection from a network. c.mu must be held.
func (c *Connections) tooFast(n netip.Prefix, now time.Time) bool {
	if n.Addr().IsLoopback() {
		return false
	}
	c.turn(now)
	c.opened[n]++
	return c.opened[n] > c.limits.PerMinute
}

// turn begins a new minute when the current one is over. c.mu must be held.
func (c *Connections) turn(now time.Time) {
	if d := now.Sub(c.minute); d < 0 || d >= time.Minute || len(c.opened) >= maxCountedAddresses || len(c.told) >= maxCountedAddresses {
		c.minute, c.opened, c.told = now, map[netip.Prefix]int{}, map[told]struct{}{}
	}
}

// Tell reports whether a refusal by Admit, or another failure of a connection, should be
// logged: only the first one of a network at a service in each minute, so that a flood of
// connections cannot fill the log.
func (c *Connections) Tell(service string, from netip.Addr, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	t := told{service, auth.Network(from)}
	_, again := c.told[t]
	c.told[t] = struct{}{}
	return !again
}

// Leave undoes Admit with the same arguments.
func (c *Connections) Leave(service string, from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	countDown(c.services, service)
	if from.IsValid() {
		countDown(c.perIP, auth.Network(from))
	}
}

// AdmitUser counts a login of a user, or returns ErrUser.
func (c *Connections) AdmitUser(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perUser[name] >= c.limits.PerUser {
		return ErrUser
	}
	c.perUser[name]++
	return nil
}

// LeaveUser undoes AdmitUser.
func (c *Connections) LeaveUser(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	countDown(c.perUser, name)
}

func countDown[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}
