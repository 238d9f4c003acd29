package login

import (
	"net/netip"
	"sync/atomic"
	"time"

	"maildird/auth"
)

// patience is how long a session whose login is no longer valid has to say so, even if its
// client does not read.
const patience = 10 * time.Second

// Granted is the login of a session, which can be revoked. The zero value is no login. It is
// safe for concurrent use.
type Granted struct {
	to      atomic.Pointer[auth.User]
	revoked atomic.Bool
}

// To sets the user who has logged in, nil for none.
func (g *Granted) To(user *auth.User) { g.to.Store(user) }

// Revoked reports whether the login is no longer valid. The session must then tell
// its client and end.
func (g *Granted) Revoked() bool { return g.revoked.Load() }

// Recheck checks whether the login is still valid. If it is not, Recheck calls wake, and ten
// seconds later cut, but only once. revoked reports whether a login is no longer valid; it gets
// the address that the login came from. If it is nil, all logins are valid.
func (g *Granted) Recheck(from netip.Addr, revoked func(netip.Addr, auth.User) bool, wake, cut func()) {
	user := g.to.Load()
	if user == nil || revoked == nil || !revoked(from, *user) || !g.revoked.CompareAndSwap(false, true) {
		return
	}
	wake()
	time.AfterFunc(patience, cut)
}
