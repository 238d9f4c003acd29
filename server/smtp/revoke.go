package smtp

import "maildird/auth"

// Recheck ends all connections whose logins are no longer valid, including those that are
// sending a message. It must be called when the answers of Config.Revoked may have changed. It
// is safe for concurrent use.
func (srv *Server) Recheck() { srv.conns.Each((*conn).recheck) }

// recheck ends the connection if its login is no longer valid. Any goroutine may call it.
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

// grant sets the user who is logged in; nil for none.
func (c *conn) grant(user *auth.User) {
	c.session.user = user
	c.granted.To(user)
}
