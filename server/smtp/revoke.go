package smtp

import (
	"time"

	"maildird/auth"
)

// revokedPatience is how long a connection whose login was revoked has to say so,
// whatever its client does not take.
const revokedPatience = 10 * time.Second

// Recheck ends all connections whose logins do not hold any more: also those that
// are sending a message. It is to be called when Config.Revoked may have other
// answers than before.
func (srv *Server) Recheck() { srv.conns.Each((*conn).recheck) }

// recheck ends the connection if its login does not hold any more. Any goroutine
// may call it.
func (c *conn) recheck() {
	user := c.granted.Load()
	if user == nil || c.srv.cfg.Revoked == nil || !c.srv.cfg.Revoked(c.peer.addr.Addr(), *user) {
		return
	}
	if !c.revoked.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting || c.receiving {
		_ = c.wire.conn.SetReadDeadline(longAgo)
	}
	time.AfterFunc(revokedPatience, c.Cut)
}

func errRevoked() error {
	return lastReply(421, code3{4, 7, 0}, "Your account was changed, log in again")
}

// grant notes whose login the connection has; nil: nobody's.
func (c *conn) grant(user *auth.User) {
	c.session.user = user
	c.granted.Store(user)
}
