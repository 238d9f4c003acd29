package smtp

import "maildird/auth"

// Recheck ends all connections whose logins do not hold any more: also those that
// are sending a message. It is to be called when Config.Revoked may have other
// answers than before.
func (srv *Server) Recheck() { srv.conns.Each((*conn).recheck) }

// recheck ends the connection if its login does not hold any more. Any goroutine
// may call it.
func (c *conn) recheck() {
	c.granted.Recheck(c.peer.Addr, c.srv.cfg.Revoked, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waiting || c.receiving {
			_ = c.wire.conn.SetReadDeadline(longAgo)
		}
	}, c.Cut)
}

func errRevoked() error {
	return lastReply(421, code3{4, 7, 0}, "Your account has changed, log in again")
}

// grant notes whose login the connection has; nil: nobody's.
func (c *conn) grant(user *auth.User) {
	c.session.user = user
	c.granted.To(user)
}
