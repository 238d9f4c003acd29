// Package limit counts and limits what clients use of a server, over all its
// protocols: connections, and the mail that users send.
package limit

import (
	"cmp"
	"errors"
	"net/netip"
	"sync"
	"time"

	"maildird/auth"
)

// Why a connection or a login is refused.
var (
	ErrFull    = errors.New("too many connections")
	ErrAddress = errors.New("too many connections from this address")
	ErrRate    = errors.New("too many new connections from this address in a minute")
	ErrUser    = errors.New("too many connections for this user")
)

// Limits of connections. A limit of 0 is the default.
type Limits struct {
	Total     int // of all services; 10,000
	PerIP     int // of one address, of one /64 for IPv6; 100
	PerUser   int // logged in as one user; 50
	PerMinute int // new ones of one address in a minute, but not of this machine; 600
}

func (l *Limits) setDefaults() {
	l.Total = cmp.Or(l.Total, 10_000)
	l.PerIP = cmp.Or(l.PerIP, 100)
	l.PerUser = cmp.Or(l.PerUser, 50)
	l.PerMinute = cmp.Or(l.PerMinute, 600)
}

// Within returns the limit of all connections together for a program that may have so
// many files open: connections get half of these at most, and the others are kept for
// mail.
func Within(files uint64, connections int) int {
	return int(max(1, min(uint64(connections), files/2)))
}

// mostRates bounds how many addresses are counted in one minute; each takes some 100
// bytes.
const mostRates = 100_000

// Connections counts the connections of all services of a process. Safe for
// concurrent use.
type Connections struct {
	limits Limits
	pace   pace

	mu       sync.Mutex
	total    int
	services map[string]int
	perIP    map[netip.Prefix]int
	perUser  map[string]int
	minute   time.Time            // when opened and told begin
	opened   map[netip.Prefix]int // new connections since then
	told     map[told]struct{}
}

// told is a service and an address whose refusal was logged in this minute.
type told struct {
	service string
	from    netip.Prefix
}

// New returns a count of no connections.
func New(l Limits) *Connections {
	l.setDefaults()
	return &Connections{
		limits: l, pace: newPace(), services: map[string]int{}, perIP: map[netip.Prefix]int{}, perUser: map[string]int{},
		opened: map[netip.Prefix]int{}, told: map[told]struct{}{},
	}
}

// Admit counts a new connection to a service, or returns why it is refused:
// ErrFull, ErrAddress or ErrRate. A zero address is that of a peer who is not
// counted by address: a Unix socket, a trusted relay. One service gets three
// quarters of the connections at most, so that a flood of strangers at one
// door leaves the other doors open.
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

// tooFast counts a new connection of a network. c.mu is held.
func (c *Connections) tooFast(n netip.Prefix, now time.Time) bool {
	if n.Addr().IsLoopback() {
		return false
	}
	c.turn(now)
	c.opened[n]++
	return c.opened[n] > c.limits.PerMinute
}

// turn begins another minute when it is time to. c.mu is held.
func (c *Connections) turn(now time.Time) {
	if d := now.Sub(c.minute); d < 0 || d >= time.Minute || len(c.opened) >= mostRates || len(c.told) >= mostRates {
		c.minute, c.opened, c.told = now, map[netip.Prefix]int{}, map[told]struct{}{}
	}
}

// Tell says whether a refusal by Admit, or another failure of a connection, is worth
// a line in the log: it is the first of the address at this service in this minute. A
// flood of connections is not to fill the log.
func (c *Connections) Tell(service string, from netip.Addr, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	t := told{service, auth.Network(from)}
	_, again := c.told[t]
	c.told[t] = struct{}{}
	return !again
}

// Leave takes back what Admit counted with the same arguments.
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

// LeaveUser takes back what AdmitUser counted.
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
