package login

import (
	"net/netip"
	"sync/atomic"
	"time"

	"maildird/auth"
)

// patience is how long a session whose login does not hold any more has to say so,
// whatever its client does not take.
const patience = 10 * time.Second

// Granted is whose login a session has; the zero one is nobody's. Safe for
// concurrent use.
type Granted struct {
	to      atomic.Pointer[auth.User]
	revoked atomic.Bool
}

// To notes whose login the session has; nil: nobody's.
func (g *Granted) To(user *auth.User) { g.to.Store(user) }

// Revoked tells whether the login does not hold any more: the session is to say so
// and to end.
func (g *Granted) Revoked() bool { return g.revoked.Load() }

// Recheck calls wake if the login does not hold any more, as revoked tells (nil: all
// hold), and cut after ten seconds. It does so once. revoked gets the address that
// the login came from.
func (g *Granted) Recheck(from netip.Addr, revoked func(netip.Addr, auth.User) bool, wake, cut func()) {
	user := g.to.Load()
	if user == nil || revoked == nil || !revoked(from, *user) || !g.revoked.CompareAndSwap(false, true) {
		return
	}
	wake()
	time.AfterFunc(patience, cut)
}
