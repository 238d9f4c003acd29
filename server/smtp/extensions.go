package smtp

import (
	"strconv"
	"strings"
)

// extensions returns what EHLO announces in the current state.
func (c *conn) extensions() []string {
	list := []string{
		"PIPELINING", // RFC 2920
		"SIZE " + strconv.FormatInt(c.srv.cfg.Limits.Message, 10), // RFC 1870
		"8BITMIME",            // RFC 6152
		"SMTPUTF8",            // RFC 6531
		"CHUNKING",            // RFC 3030
		"ENHANCEDSTATUSCODES", // RFC 2034
	}
	if c.canStartTLS() {
		list = append(list, "STARTTLS") // RFC 3207
	}
	if c.srv.kind == Submission && c.passwordsAllowed() {
		list = append(list, "AUTH "+strings.Join(c.srv.cfg.Logins.Mechanisms(c.peer.tls, true), " ")) // RFC 4954
	}
	return list
}

func (c *conn) canStartTLS() bool { return c.srv.cfg.TLS != nil && c.peer.tls == nil }
