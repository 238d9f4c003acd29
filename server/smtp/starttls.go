package smtp

import (
	"crypto/tls"
)

// runStartTLS is STARTTLS (RFC 3207).
func runStartTLS(c *conn, arg string) error {
	switch err := noArgument(arg); {
	case err != nil:
		return err
	case c.peer.tls != nil:
		return refusal(503, code3{5, 5, 1}, "TLS is already active")
	case c.srv.cfg.TLS == nil:
		return refusal(502, code3{5, 5, 1}, "TLS is not available")
	case c.session.from != nil:
		return refusal(503, code3{5, 5, 1}, "Not allowed during a mail transaction")
	}
	c.reply(220, code3{2, 0, 0}, "Begin TLS negotiation")
	if err := c.wire.flush(); err != nil {
		return err
	}
	// Input that came before the handshake was not protected: an attacker may have injected
	// it (CVE-2011-0411 and similar).
	if n := len(c.wire.unread()); n > 0 {
		c.log.Warn("discarded unencrypted data after STARTTLS", "octets", n)
		c.wire.use(n)
	}
	conn := tls.Server(c.wire.socket, c.srv.cfg.TLS)
	if err := c.handshake(conn); err != nil {
		return err
	}
	c.mu.Lock()
	c.wire.conn = conn
	c.mu.Unlock()
	// RFC 3207 section 4.2: the session starts over.
	c.reset()
	if c.session.user != nil {
		c.log.Info("logged out", "reason", "STARTTLS")
	}
	c.logOut()
	c.peer.hello, c.peer.esmtp = "", false
	return nil
}
